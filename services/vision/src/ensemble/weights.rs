//! The weights of the models' votes.

use std::str::FromStr;

use clap::ValueEnum;

use crate::model::BuiltIn;

/// The weight of each model, as configured, in the order of [`BuiltIn`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights([f64; 2]);

/// The error for invalid [`Weights`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be weights such as efficientnetb0=0.6,mobilenetv2=0.4, each above 0, not {0:?}")]
pub struct InvalidWeights(String);

impl Weights {
    /// The weight of a model.
    #[must_use]
    pub fn of(self, model: BuiltIn) -> f64 {
        self.0[model as usize]
    }
}

/// The models' accuracies as weights, or equal weights if one is unknown or 0.
pub(super) fn by_accuracy(accuracies: &[Option<f64>]) -> Vec<f64> {
    // All or none: a measured accuracy cannot be compared with an unknown one.
    let known: Option<Vec<f64>> = accuracies.iter().copied().collect();
    known
        .filter(|all| all.iter().all(|accuracy| *accuracy > 0.0))
        .unwrap_or_else(|| vec![1.0; accuracies.len()])
}

impl FromStr for Weights {
    type Err = InvalidWeights;

    fn from_str(text: &str) -> Result<Self, InvalidWeights> {
        let mut weights = [None, None];
        let invalid = || InvalidWeights(text.to_owned());
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(invalid)?;
            let mut models = BuiltIn::value_variants().iter();
            let index = models.position(|model| model.name() == name.trim());
            let weight: f64 = weight.trim().parse().map_err(|_| invalid())?;
            if !(weight.is_finite() && weight > 0.0) {
                return Err(invalid());
            }
            weights[index.ok_or_else(invalid)?] = Some(weight);
        }
        // Both are needed, since a weight only means something relative to the other.
        match weights {
            [Some(first), Some(second)] => Ok(Self([first, second])),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("efficientnetb0=0.6,mobilenetv2=0.4", true)]
    #[case("mobilenetv2=1, efficientnetb0=3", true)]
    #[case("efficientnetb0=0.6", false)]
    #[case("efficientnetb0=0.6,mobilenetv2=0", false)]
    #[case("efficientnetb0=0.6,mobilenetv2=NaN", false)]
    #[case("efficientnetb0=0.6,resnet=0.4", false)]
    #[case("", false)]
    fn weights_are_validated(#[case] text: &str, #[case] valid: bool) {
        assert_eq!(text.parse::<Weights>().is_ok(), valid);
    }

    #[test]
    fn weights_are_equal_unless_all_are_known() {
        assert_eq!(by_accuracy(&[Some(0.9), Some(0.8)]), [0.9, 0.8]);
        assert_eq!(by_accuracy(&[Some(0.9), None]), [1.0, 1.0]);
        assert_eq!(by_accuracy(&[Some(0.0), Some(0.8)]), [1.0, 1.0]);
    }
}
