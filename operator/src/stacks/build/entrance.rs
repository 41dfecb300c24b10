//! `NAME-otlp`: the one address to which services send, whatever the route.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use spoor_api::stack::{Address, Collector, Jaeger, Route, Stack};

use crate::stacks::route;

use super::{
    OTLP_GRPC, OTLP_HTTP, Surroundings,
    labels::{Component, selector, stack_metadata},
};

/// On the Service: where it leads.
pub const ROUTE: &str = "spoor.dev/route";
/// On the Service: since when it leads there.
pub const SINCE: &str = "spoor.dev/route-since";

/// Where the entrance leads, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leads {
    /// To the Collector or to Jaeger.
    pub to: Route,
    /// When it was turned there, to the second; none: from the beginning.
    pub since: Option<Timestamp>,
}

/// The Service's name.
#[must_use]
pub fn name(stack: &Stack) -> String {
    format!("{}-otlp", stack.name)
}

/// The Service's host and port.
#[must_use]
pub fn address(stack: &Stack) -> String {
    format!("{}.{}.svc:{}", name(stack), stack.namespace, port(stack))
}

/// What services have for `OTEL_EXPORTER_OTLP_ENDPOINT`.
#[must_use]
pub fn url(stack: &Stack) -> String {
    format!("http://{}", address(stack))
}

/// The port to which services send: a name that stands for an existing Collector or Jaeger
/// carries no port, so its port is everybody's.
#[must_use]
pub fn port(stack: &Stack) -> i32 {
    let existing = [
        existing(stack, stack.route),
        existing(stack, route::other(stack.route)),
    ];
    existing
        .into_iter()
        .flatten()
        .next()
        .map_or(OTLP_GRPC, |address| i32::from(address.port()))
}

/// What isn't run by the operator on a route, if so.
#[must_use]
pub fn existing(stack: &Stack, route: Route) -> Option<&Address> {
    match (route, &stack.collector, &stack.jaeger) {
        (Route::Collector, Collector::Existing(otlp), _) => Some(otlp),
        (Route::Direct, _, Jaeger::Existing(jaeger)) => Some(&jaeger.otlp),
        _ => None,
    }
}

/// The Service that leads where it should now.
#[must_use]
pub fn service(stack: &Stack, leads: Leads, surroundings: &Surroundings) -> Service {
    let mut metadata = stack_metadata(stack, name(stack));
    let mut annotations = BTreeMap::from([(ROUTE.to_owned(), leads.to.as_str().to_owned())]);
    annotations.extend(
        leads
            .since
            .map(|since| (SINCE.to_owned(), since.to_string())),
    );
    metadata.annotations = Some(annotations);
    let spec = match existing(stack, leads.to) {
        Some(address) => ServiceSpec {
            type_: Some("ExternalName".to_owned()),
            external_name: Some(qualified(address.host(), stack, surroundings)),
            ..ServiceSpec::default()
        },
        None => ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(stack, component(leads.to))),
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

fn component(route: Route) -> Component {
    match route {
        Route::Collector => Component::Gather,
        Route::Direct => Component::Jaeger,
    }
}

fn ports(stack: &Stack) -> Vec<ServicePort> {
    let mut ports = vec![
        ("otlp-grpc", OTLP_GRPC, OTLP_GRPC),
        ("otlp-http", OTLP_HTTP, OTLP_HTTP),
    ];
    let own = port(stack);
    if own != OTLP_GRPC && own != OTLP_HTTP {
        ports.push(("otlp", own, OTLP_GRPC));
    }
    let ports = ports.into_iter().map(|(name, port, target)| ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(target)),
        ..ServicePort::default()
    });
    ports.collect()
}

/// A name that means the same from everywhere: an alias is looked up as it is, without the
/// domains that pods search.
fn qualified(host: &str, stack: &Stack, surroundings: &Surroundings) -> String {
    let domain = &surroundings.cluster_domain;
    if host.ends_with(".svc") {
        format!("{host}.{domain}")
    } else if host.contains('.') {
        host.to_owned()
    } else {
        format!("{host}.{}.svc.{domain}", stack.namespace)
    }
}
