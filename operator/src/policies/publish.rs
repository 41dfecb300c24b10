//! Publishes a resolution: the table that the listeners serve, and the instances that are expected
//! to apply it.

use std::collections::BTreeSet;

use spoor_control::Control;
use spoor_policy::{Namespace, PolicyTable, ServiceName};
use tracing::field::Empty;

use super::{metrics::as_i64, resolution::ResolvedPolicies};

/// Publishes what has changed since `before`; the first time, everything.
pub(super) fn publish(
    control: &Control,
    resolved: &ResolvedPolicies,
    before: Option<&ResolvedPolicies>,
) {
    let instances = &resolved.inputs.instances;
    if before.is_none_or(|before| before.inputs.instances != *instances) {
        // Before the publication, so that a new version is not seen as complete without the new
        // instances.
        control.set_expected(instances.clone());
    }
    if !before.is_some_and(|before| before.is_served_as(resolved)) {
        let span = tracing::info_span!(
            "publish",
            otel.name = "publish policies",
            spoor.version = Empty,
            spoor.services.changed = Empty,
        )
        .entered();
        let version = control.publish(resolved.served());
        if !span.is_disabled() {
            span.record("spoor.version", version.to_string());
            let changed = changed_services(before, resolved);
            span.record("spoor.services.changed", as_i64(changed));
        }
        tracing::info!(%version, policies = resolved.inputs.policies.len(), "published policies");
    }
}

/// The number of services whose plan has changed.
fn changed_services(before: Option<&ResolvedPolicies>, resolved: &ResolvedPolicies) -> usize {
    let nothing = PolicyTable::default();
    let before = before.map_or(&nothing, |before| &before.resolution.table);
    let after = &resolved.resolution.table;
    let services = before.services().chain(after.services());
    let services: BTreeSet<_> = services
        .map(|(namespace, service, _)| (namespace, service))
        .collect();
    let is_changed = |&(namespace, service): &(&Namespace, &ServiceName)| {
        let (namespace, service) = (namespace.as_str(), service.as_str());
        before.plan(namespace, service) != after.plan(namespace, service)
    };
    services.into_iter().filter(is_changed).count()
}
