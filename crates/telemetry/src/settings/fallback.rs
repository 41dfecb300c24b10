//! The fallback, which decides before the first plan and where a plan has no strategy.

use spoor_policy::Probability;
use spoor_runtime::{Environment, otel};

use super::control;

pub(super) fn read(environment: &mut Environment<'_>) -> Probability {
    let no_policies = environment
        .text(control::ENDPOINT)
        .is_none()
        .then_some("must be always_on, always_off or traceidratio without SPOOR_CONTROL_ENDPOINT");
    let probability = otel::sampling_probability(environment, no_policies);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 1 000 000, and rounded before the cast"
    )]
    let millionths = (probability * 1e6).round() as u32;
    Probability::from_millionths(millionths).unwrap_or(Probability::ALWAYS)
}
