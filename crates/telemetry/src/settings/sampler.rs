//! The sampler in force before a policy arrives.

use spoor_policy::Probability;
use spoor_runtime::{Environment, otel};

use super::control;

pub(super) fn read(environment: &mut Environment<'_>) -> Probability {
    let no_policies = environment
        .text(control::ENDPOINT)
        .is_none()
        .then_some("needs SPOOR_CONTROL_ENDPOINT, from where policies are pushed");
    let probability = otel::sampling_probability(environment, no_policies);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 it is at most a million, and rounding there is what is wanted"
    )]
    let millionths = (probability * 1e6).round() as u32;
    Probability::from_millionths(millionths).unwrap_or(Probability::ALWAYS)
}
