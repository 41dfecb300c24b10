//! A loaded model.

use std::{error::Error, sync::Arc};

use spoor_proto::spoor::vision::v1::Score;
use tract_onnx::{
    pb::ModelProto,
    prelude::{
        DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, Tensor, TractError,
        TractResult, TypedRunnableModel, tvec,
    },
};

use super::{file::Source, properties::ModelProperties};
use crate::input::CHANNELS;

/// A model that is loaded and ready for inference.
pub struct Network {
    plan: Arc<TypedRunnableModel>,
    shape: [usize; 4],
    labels: Vec<String>,
}

/// The error of loading a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadModelError {
    /// The model cannot be read.
    #[error(transparent)]
    Open(#[from] super::OpenModelError),
    /// The model cannot be prepared for inference.
    #[error("{0} cannot be loaded")]
    Prepare(String, #[source] Box<dyn Error + Send + Sync>),
    /// The number of labels differs from the number of classes.
    #[error(
        "{model} has {classes} classes, but {labels} labels; SPOOR_MODEL_LABELS_FILE must have a \
         line for each class"
    )]
    Labels {
        /// The model.
        model: String,
        /// The number of classes.
        classes: usize,
        /// The number of labels.
        labels: usize,
    },
    /// The thread that loads it panicked.
    #[error("loading the model was aborted")]
    Lost(#[from] tokio::task::JoinError),
}

/// The error of an inference.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    /// The computation failed.
    #[error("inference failed")]
    Run(#[source] Box<dyn Error + Send + Sync>),
    /// The output is not finite.
    #[error("the model's output has values that are not finite")]
    NotFinite,
}

impl Network {
    /// Loads a model.
    pub(super) fn load(
        source: &Source,
        properties: &ModelProperties,
    ) -> Result<Self, LoadModelError> {
        let size = properties.input.size;
        let shape = [1, CHANNELS, size.height() as usize, size.width() as usize];
        let failed = |error: TractError| LoadModelError::Prepare(source.name(), error.into());
        let plan = prepare(source.read()?, shape).map_err(failed)?;
        // From an inference on a grey picture, since the declared output shape may be missing or
        // wrong.
        let grey = vec![0.0; shape.iter().product()];
        let classes = run(&plan, shape, &grey).map_err(failed)?.len();
        let labels = match &properties.labels {
            Some(labels) => labels.clone(),
            None => (0..classes).map(|class| format!("class {class}")).collect(),
        };
        if labels.len() != classes {
            return Err(LoadModelError::Labels {
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

    /// Classifies a picture and returns every class with its score, best first.
    ///
    /// # Errors
    /// [`ClassifyError`].
    pub fn classify(&self, values: &[f32]) -> Result<Vec<Score>, ClassifyError> {
        let output = run(&self.plan, self.shape, values)
            .map_err(|error| ClassifyError::Run(error.into()))?;
        let scores = distribution(&output).ok_or(ClassifyError::NotFinite)?;
        let scores = self.labels.iter().cloned().zip(scores);
        let scores = scores.map(|(label, score)| Score { label, score });
        let mut scores: Vec<Score> = scores.collect();
        scores.sort_by(|one, other| other.score.total_cmp(&one.score));
        Ok(scores)
    }
}

/// Prepares a model for inference. The shapes that it declares are ignored, since current exporters
/// write shapes that do not hold for an input of another size or batch.
fn prepare(proto: ModelProto, shape: [usize; 4]) -> TractResult<Arc<TypedRunnableModel>> {
    let onnx = tract_onnx::onnx()
        .with_ignore_value_info(true)
        .with_ignore_output_shapes(true);
    let model = onnx.model_for_proto_model(&proto)?;
    // Its weights are in the model now, and would take as much memory again during optimisation.
    drop(proto);
    model
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()
}

fn run(plan: &Arc<TypedRunnableModel>, shape: [usize; 4], values: &[f32]) -> TractResult<Vec<f32>> {
    let input = Tensor::from_shape(&shape, values)?;
    let outputs = plan.run(tvec!(input.into_tvalue()))?;
    // Other float types, such as float64, are converted.
    let first = outputs.first().map(|output| output.cast_to::<f32>());
    let Some(first) = first.transpose()? else {
        return Ok(Vec::new());
    };
    Ok(first.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

/// The output, if it is a probability distribution already, or else its softmax.
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
    // Subtracting the largest value prevents overflow and does not change the result.
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
    fn distribution_is_left_unchanged() {
        let scores = distribution(&[0.25, 0.75]).unwrap();
        assert_eq!(scores, [0.25, 0.75]);
    }

    #[test]
    fn outputs_that_are_not_finite_are_errors() {
        assert_eq!(distribution(&[0.5, f32::NAN]), None);
        assert_eq!(distribution(&[f32::INFINITY, 0.0]), None);
    }
}
