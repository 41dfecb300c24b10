//! What the services of the namespace are given: settings for `envFrom`, and whom to trust.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use spoor_api::stack::Stack;

use super::{Surroundings, entrance, labels::stack_metadata};

/// The key of the certificate authority in `NAME-ca`.
pub const CA_KEY: &str = "ca.crt";

/// `NAME-otel-env`: OpenTelemetry's standard settings, and where Spoor's own clients listen for
/// policies.
#[must_use]
pub fn settings(stack: &Stack, surroundings: &Surroundings) -> ConfigMap {
    let doors = surroundings.doors.host();
    let sampler =
        format!("endpoint=http://{doors}:5779,pollingIntervalMs=5000,initialSamplingRate=1");
    let resource = format!("k8s.namespace.name={}", stack.namespace);
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", entrance::url(stack)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", resource),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        (
            "OTEL_TRACES_SAMPLER",
            "parentbased_jaeger_remote".to_owned(),
        ),
        ("OTEL_TRACES_SAMPLER_ARG", sampler),
        ("SPOOR_CONTROL_ENDPOINT", format!("https://{doors}:5780")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    ConfigMap {
        metadata: stack_metadata(stack, format!("{}-otel-env", stack.name)),
        data: Some(BTreeMap::from(settings)),
        ..ConfigMap::default()
    }
}

/// `NAME-ca`: the certificate authority by which clients know the policies' doors.
#[must_use]
pub fn authority(stack: &Stack, surroundings: &Surroundings) -> ConfigMap {
    let certificates = surroundings.authority.clone();
    ConfigMap {
        metadata: stack_metadata(stack, format!("{}-ca", stack.name)),
        data: Some(BTreeMap::from([(CA_KEY.to_owned(), certificates)])),
        ..ConfigMap::default()
    }
}
