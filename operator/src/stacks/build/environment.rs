//! The ConfigMaps for services: settings for `envFrom`, and the certificate authority.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use spoor_api::stack::Stack;

use super::{BuildContext, otlp_service};
use crate::stacks::objects::labels::stack_metadata;

/// The key of the certificate authority in `NAME-ca`.
pub const CA_KEY: &str = "ca.crt";

/// `NAME-otel-env`: OpenTelemetry's standard settings, and the endpoint from which Spoor's own
/// clients stream policies.
#[must_use]
pub fn settings(stack: &Stack, context: &BuildContext) -> ConfigMap {
    let policies = context.policies_service.host();
    let sampler = "parentbased_jaeger_remote";
    // Samples every trace until the first response, as SDKs do without remote sampling.
    let argument =
        format!("endpoint=http://{policies}:5779,pollingIntervalMs=5000,initialSamplingRate=1");
    let resource = format!("k8s.namespace.name={}", stack.namespace);
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_service::url(stack)),
        // SDKs differ in their default, and the endpoint has the port of gRPC.
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
        ("OTEL_RESOURCE_ATTRIBUTES", resource),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        ("OTEL_TRACES_SAMPLER", sampler.to_owned()),
        ("OTEL_TRACES_SAMPLER_ARG", argument),
        ("SPOOR_CONTROL_ENDPOINT", control_url(context)),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    ConfigMap {
        metadata: stack_metadata(stack, format!("{}-otel-env", stack.name)),
        data: Some(BTreeMap::from(settings)),
        ..ConfigMap::default()
    }
}

/// The endpoint from which Spoor's own clients stream policies.
#[must_use]
pub fn control_url(context: &BuildContext) -> String {
    format!("https://{}:5780", context.policies_service.host())
}

/// The name of the ConfigMap with the certificate authority.
#[must_use]
pub fn authority_name(stack: &Stack) -> String {
    format!("{}-ca", stack.name)
}

/// `NAME-ca`: the certificate authority of the `policies` role.
#[must_use]
pub fn authority(stack: &Stack, context: &BuildContext) -> ConfigMap {
    let certificates = context.authority.clone();
    ConfigMap {
        metadata: stack_metadata(stack, authority_name(stack)),
        data: Some(BTreeMap::from([(CA_KEY.to_owned(), certificates)])),
        ..ConfigMap::default()
    }
}
