//! Publishes a resolution: the table that the listeners serve, and the instances that are expected
//! there.

use spoor_control::Control;

use super::resolution::ResolvedPolicies;

/// Publishes what has changed since `before`; the first time, everything.
pub(super) fn publish(
    control: &Control,
    built: &ResolvedPolicies,
    before: Option<&ResolvedPolicies>,
) {
    let instances = &built.inputs.instances;
    if before.is_none_or(|before| before.inputs.instances != *instances) {
        // Before the publication, so that a new version is not seen as complete without the new
        // instances.
        control.expect(instances.clone());
    }
    if before.is_none_or(|before| !before.serves_as(built)) {
        let version = control.publish(built.resolution.clone());
        tracing::info!(%version, policies = built.inputs.policies.len(), "published policies");
    }
}

impl ResolvedPolicies {
    /// Returns true if clients and evidence would see no difference.
    fn serves_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.resolution, &other.resolution);
        one.table == other.table && one.tail == other.tail && one.outcomes == other.outcomes
    }
}
