//! The policies effective for a service, and the time since when.

use jiff::Timestamp;
use spoor_api::status::{ConditionStatus, EffectivePlace};

use crate::lessons::policies::CheckedPolicy;

/// True if an effective strategy applies to the service, by its name or as one of all others.
pub(super) fn is_of_service(entry: &EffectivePlace, service: &str) -> bool {
    entry
        .service
        .as_deref()
        .is_none_or(|named| named == service)
}

/// The time since when a condition of the policy is true.
pub(super) fn since(policy: &CheckedPolicy, condition: &str) -> Option<Timestamp> {
    let condition = policy.condition(condition)?;
    let is_true = condition.status == ConditionStatus::True;
    // The time of a false condition is that of its failure.
    is_true.then_some(())?;
    condition.last_transition_time.parse().ok()
}
