//! A loaded model.

use std::{error::Error, sync::Arc};

use tract_onnx::prelude::{
    DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, Tensor, TractResult,
    TypedRunnableModel, tvec,
};

use super::{facts::Facts, file::Source};
use crate::input::CHANNELS;

/// A model that is ready to be asked.
pub struct Network {
    plan: Arc<TypedRunnableModel>,
    shape: [usize; 4],
    labels: Vec<String>,
}

/// A class, and how sure the model is of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The class.
    pub label: String,
    /// From 0 to 1.
    pub score: f64,
}

/// Why a model can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It can't be read.
    #[error(transparent)]
    Open(#[from] super::OpenError),
    /// It can't be turned into something that runs.
    #[error("{model} can't be loaded")]
    Prepare {
        /// Which.
        model: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Its labels are others'.
    #[error(
        "{model} has {classes} classes, but {labels} labels: SPOOR_MODEL_LABELS_FILE must have a \
         line for each class"
    )]
    Labels {
        /// Which.
        model: String,
        /// What the model answers with.
        classes: usize,
        /// What there is.
        labels: usize,
    },
}

/// Why a model gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The computation.
    #[error("the model can't be computed")]
    Run(#[source] Box<dyn Error + Send + Sync>),
    /// What came of it.
    #[error("the model answered with what are no numbers")]
    NotFinite,
}

impl Network {
    /// Loads it.
    pub(super) fn load(source: &Source, facts: &Facts) -> Result<Self, LoadError> {
        let size = facts.input.size;
        let shape = [1, CHANNELS, size.height() as usize, size.width() as usize];
        let failed = |source_error: tract_onnx::prelude::TractError| LoadError::Prepare {
            model: source.name(),
            source: source_error.into(),
        };
        let plan = prepare(source, shape)?.map_err(failed)?;
        let classes = classes(&plan, shape).map_err(failed)?;
        let labels = match &facts.labels {
            Some(labels) => labels.clone(),
            None => (0..classes).map(|class| format!("class {class}")).collect(),
        };
        if labels.len() != classes {
            return Err(LoadError::Labels {
                model: source.name(),
                classes,
                labels: labels.len(),
            });
        }
        Ok(Self {
            plan,
            shape,
            labels,
        })
    }

    /// Every class with its score, the best first.
    ///
    /// # Errors
    /// [`ClassifyError`].
    pub fn classify(&self, numbers: &[f32]) -> Result<Vec<Score>, ClassifyError> {
        let output = run(&self.plan, self.shape, numbers)
            .map_err(|error| ClassifyError::Run(error.into()))?;
        let scores = distribution(&output).ok_or(ClassifyError::NotFinite)?;
        let mut scores: Vec<Score> = self
            .labels
            .iter()
            .zip(scores)
            .map(|(label, score)| Score {
                label: label.clone(),
                score,
            })
            .collect();
        scores.sort_by(|one, other| other.score.total_cmp(&one.score));
        Ok(scores)
    }
}

/// Current exports say shapes that an input of another size or batch makes wrong.
fn prepare(
    source: &Source,
    shape: [usize; 4],
) -> Result<TractResult<Arc<TypedRunnableModel>>, super::OpenError> {
    let proto = source.read()?;
    let onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    let prepare = || {
        let model = onnx.model_for_proto_model(&proto)?;
        drop(proto);
        model
            .with_input_fact(0, f32::fact(shape).into())?
            .into_optimized()?
            .into_runnable()
    };
    Ok(prepare())
}

/// How many classes it knows, by asking it about a grey picture.
fn classes(plan: &Arc<TypedRunnableModel>, shape: [usize; 4]) -> TractResult<usize> {
    let grey = vec![0.0; shape.iter().product()];
    Ok(run(plan, shape, &grey)?.len())
}

fn run(
    plan: &Arc<TypedRunnableModel>,
    shape: [usize; 4],
    numbers: &[f32],
) -> TractResult<Vec<f32>> {
    let input = Tensor::from_shape(&shape, numbers)?;
    let outputs = plan.run(tvec!(input.into_tvalue()))?;
    let first = outputs.first().map(|output| output.cast_to::<f32>());
    let Some(first) = first.transpose()? else {
        return Ok(Vec::new());
    };
    Ok(first.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

/// The output as it is when it's a distribution already; otherwise its softmax.
fn distribution(output: &[f32]) -> Option<Vec<f64>> {
    const TOLERANCE: f64 = 1e-3;
    let output: Vec<f64> = output.iter().copied().map(f64::from).collect();
    if !output.iter().all(|value| value.is_finite()) {
        return None;
    }
    let sum: f64 = output.iter().sum();
    if output.iter().all(|value| *value >= 0.0) && (sum - 1.0).abs() < TOLERANCE {
        return Some(output);
    }
    // Less the largest, so that none overflows.
    let largest = output.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = output.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    Some(powers.into_iter().map(|power| power / sum).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn logits_become_a_distribution() {
        let scores = distribution(&[1000.0, 1000.0, -1000.0]).unwrap();
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn a_distribution_stays() {
        let scores = distribution(&[0.25, 0.75]).unwrap();
        assert_eq!(scores, [0.25, 0.75]);
    }

    #[test]
    fn what_is_no_number_is_no_answer() {
        assert_eq!(distribution(&[0.5, f32::NAN]), None);
        assert_eq!(distribution(&[f32::INFINITY, 0.0]), None);
    }
}
