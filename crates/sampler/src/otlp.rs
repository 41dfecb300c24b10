//! The API for senders of spans.

use axum::Router;
use spoor_runtime::{
    Api, Health, ReflectionError, by_protocol, grpc_fallback, with_hints, with_introspection,
};
use spoor_traces::{Forwarder, OTLP_DESCRIPTORS};
use tonic::service::Routes;

/// OTLP over gRPC and HTTP, with gRPC health and reflection.
pub(crate) async fn router(forwarder: &Forwarder) -> Result<(Router, Health), ReflectionError> {
    const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
    let routes = Routes::from(forwarder.otlp_grpc());
    let (routes, health) = with_introspection(routes, &[SERVICE], OTLP_DESCRIPTORS).await?;
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port serves OTLP's TraceService",
    );
    let router = by_protocol(forwarder.otlp_http(), grpc);
    Ok((with_hints(router, hint), health))
}

/// The hint for requests of other APIs.
fn hint(api: Api) -> Option<String> {
    match api {
        Api::OtlpTraces | Api::OtlpMetrics | Api::OtlpOthers => None,
        Api::JaegerQuery | Api::JaegerSampling | Api::Zipkin => {
            Some("a sampler accepts spans over OTLP and forwards them".to_owned())
        }
    }
}
