//! Spoor's own resources, as the client addresses them.

use kube::core::{ApiResource, GroupVersionKind};
use spoor_api::{GROUP, VERSION};

/// `SamplingPolicy`.
#[must_use]
pub fn sampling_policies() -> ApiResource {
    resource("SamplingPolicy", "samplingpolicies")
}

/// `TracingStack`.
#[must_use]
pub fn tracing_stacks() -> ApiResource {
    resource("TracingStack", "tracingstacks")
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}
