//! The Service `NAME-otlp`: the one address to which services send spans, on either route.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use spoor_api::stack::{Address, Collector, Jaeger, Route, SamplerEngine, Stack};

use super::BuildContext;
use crate::stacks::objects::{
    labels::{Component, selector, stack_metadata},
    network::service_port,
    otlp::{OTLP_GRPC_PORT, OTLP_HTTP_PORT},
};

/// The annotation of the Service with its present route.
pub const ROUTE_ANNOTATION: &str = "spoor.dev/route";
/// The annotation of the Service with the time of its last change of route or engine.
pub const ROUTE_SINCE_ANNOTATION: &str = "spoor.dev/route-since";
/// The annotation of the Service with the engine behind the Collector. Without it, the Collector
/// decides itself, as it always did before stacks had samplers.
pub const ENGINE_ANNOTATION: &str = "spoor.dev/sampler-engine";

/// The route of the Service, the engine behind it, and the time of their last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtlpTarget {
    /// The route: to the Collector, or directly to Jaeger.
    pub route: Route,
    /// The engine behind the Collector. Has no effect on the route to Jaeger, or to an existing
    /// Collector.
    pub engine: SamplerEngine,
    /// The time of the change, in whole seconds. If unset, the Service has had this route and engine
    /// from the beginning.
    pub since: Option<Timestamp>,
}

/// The name of the Service.
#[must_use]
pub fn name(stack: &Stack) -> String {
    format!("{}-otlp", stack.name)
}

/// The host and port of the Service.
#[must_use]
pub fn address(stack: &Stack) -> String {
    format!("{}.{}.svc:{}", name(stack), stack.namespace, port(stack))
}

/// The value of `OTEL_EXPORTER_OTLP_ENDPOINT` for services.
#[must_use]
pub fn url(stack: &Stack) -> String {
    format!("http://{}", address(stack))
}

/// The port to which services send. A Service of type ExternalName maps no ports, so with an
/// existing Collector or Jaeger it is theirs.
#[must_use]
pub fn port(stack: &Stack) -> u16 {
    existing_address(stack, stack.route)
        .or_else(|| existing_address(stack, opposite(stack.route)))
        .map_or(OTLP_GRPC_PORT, Address::port)
}

/// The route that is not this one.
#[must_use]
pub fn opposite(route: Route) -> Route {
    match route {
        Route::Collector => Route::Direct,
        Route::Direct => Route::Collector,
    }
}

/// The address at the end of a route, if that is an existing Collector or Jaeger, which the
/// operator does not run.
#[must_use]
pub fn existing_address(stack: &Stack, route: Route) -> Option<&Address> {
    match (route, &stack.collector, &stack.jaeger) {
        (Route::Collector, Collector::Existing(collector), _) => Some(&collector.otlp),
        (Route::Direct, _, Jaeger::Existing(jaeger)) => Some(&jaeger.otlp),
        _ => None,
    }
}

/// Builds the Service with this route.
#[must_use]
pub fn service(stack: &Stack, target: OtlpTarget, context: &BuildContext) -> Service {
    let mut metadata = stack_metadata(stack, name(stack));
    let mut annotations = BTreeMap::from([(ROUTE_ANNOTATION.to_owned(), target.route.to_string())]);
    let since = target.since.map(|since| since.to_string());
    annotations.extend(since.map(|since| (ROUTE_SINCE_ANNOTATION.to_owned(), since)));
    if component(target) == Component::Collector {
        annotations.insert(ENGINE_ANNOTATION.to_owned(), target.engine.to_string());
    }
    metadata.annotations = Some(annotations);
    let spec = match existing_address(stack, target.route) {
        // An alias, since a selector could only match pods of this namespace.
        Some(address) => ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(qualified(address.host(), stack, context)),
            ..ServiceSpec::default()
        },
        None => ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(stack, component(target))),
            ports: Some(ports(stack)),
            ..ServiceSpec::default()
        },
    };
    Service {
        metadata,
        spec: Some(spec),
        ..Service::default()
    }
}

fn component(target: OtlpTarget) -> Component {
    match (target.route, target.engine) {
        (Route::Collector, SamplerEngine::OpenTelemetry) => Component::Gather,
        (Route::Collector, SamplerEngine::Spoor) => Component::Collector,
        (Route::Direct, _) => Component::Jaeger,
    }
}

fn ports(stack: &Stack) -> Vec<ServicePort> {
    let mut ports = vec![("otlp-grpc", OTLP_GRPC_PORT, OTLP_GRPC_PORT)];
    // Services keep their address when the route changes, and that address may have the port of an
    // existing Collector or Jaeger. Services send gRPC to that port, whatever its number.
    let own = port(stack);
    if own != OTLP_HTTP_PORT {
        ports.push(("otlp-http", OTLP_HTTP_PORT, OTLP_HTTP_PORT));
    }
    if own != OTLP_GRPC_PORT {
        ports.push(("otlp", own, OTLP_GRPC_PORT));
    }
    let ports = ports.into_iter();
    let ports = ports.map(|(name, port, target)| service_port(name, port, target));
    ports.collect()
}

/// The fully qualified name of a host: DNS resolves the target of an alias as it is, without the
/// search domains of pods.
fn qualified(host: &str, stack: &Stack, context: &BuildContext) -> String {
    let domain = &context.cluster_domain;
    if host.ends_with(".svc") {
        format!("{host}.{domain}")
    } else if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{}.svc.{domain}", stack.namespace)
    }
}
