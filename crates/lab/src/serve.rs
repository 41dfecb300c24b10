//! The routers on the lab's own ports.

use axum::{Router, middleware};
use prometheus_client::registry::Registry;
use spoor_console::Console;
use spoor_control::Control;
use spoor_runtime::{
    Api, Limits, Listener, ReflectionError, by_protocol, grpc_fallback, in_turn, max_connections,
    with_introspection,
};
use spoor_traces::{
    OTLP_DESCRIPTORS, Pipeline,
    query::{self, Queries},
};
use tonic::service::Routes;

use super::{
    addresses::LabSockets,
    admin::{self, Admin},
    hints::Hints,
    listeners::Listeners,
    wire::MAX_BODY_BYTES,
};

/// The memory for request bodies of the admin API, which are buffered: eight of the largest.
const MAX_ADMIN_BODY_BYTES: usize = 8 * MAX_BODY_BYTES;

/// The APIs that the OTLP ports handle themselves, at least with an error.
const OTLP: &[Api] = &[Api::OtlpTraces, Api::OtlpMetrics, Api::OtlpOthers];

/// Serves on all ports.
pub(super) async fn listen(
    own: LabSockets,
    hints: Hints,
    control: &Control,
    pipeline: &Pipeline,
    (queries, console): (&Queries, &Console),
    admin: Admin,
) -> Result<Listeners, ReflectionError> {
    // The same on both ports, so that an exporter set to the other protocol's port works too.
    let otlp = hints.add(otlp(pipeline).await?, OTLP);
    let query_http = query::http(queries).merge(console.router());
    let query_http = http_only(
        query_http,
        "Jaeger's query API over gRPC is on another port, by default 16685",
    );
    let query_http = hints.add(query_http, &[Api::JaegerQuery]);
    // So that a connection with a hundred queries delays another connection's query by one of them only.
    // A turn ends with the head of the response, so streams of events hold none.
    let query_http = query_http.layer(middleware::from_fn(in_turn));
    let query_grpc = grpc_fallback(
        query::grpc(queries).await?.into_axum_router(),
        "this port serves Jaeger's query API over gRPC; over HTTP it is on another port, by default \
         16686",
    );
    let query_grpc = hints.add(query_grpc, &[]);
    let query_grpc = query_grpc.layer(middleware::from_fn(in_turn));
    // As with OTLP, both ports serve both protocols.
    let sampling = hints.add(sampling(control).await?, &[Api::JaegerSampling]);
    let sampling = sampling.layer(middleware::from_fn(in_turn));
    // On three ports (the two for OTLP, and that of the policy streams), most connections may be
    // waiting for the lab. Such connections are not closed to make room for others, so a port must not
    // take all of the process's connections.
    let limits = Limits {
        max_connections: Limits::default().max_connections.min(max_connections() / 3),
        ..Limits::default()
    };
    let admin_limits = Limits {
        max_body_bytes: MAX_ADMIN_BODY_BYTES,
        ..limits
    };
    let api = http_only(admin::router(admin), "the lab's API is HTTP only");
    let api = hints.add(api, &[]);
    let mut listeners = Listeners::default();
    let admin = Listener::new(own.admin, api).limits(admin_limits);
    listeners.serve("the lab's API", admin);
    for (name, sockets, router) in [
        ("OTLP over gRPC", own.otlp_grpc, otlp.clone()),
        ("OTLP over HTTP", own.otlp_http, otlp),
        ("traces over HTTP", own.query_http, query_http),
        ("traces over gRPC", own.query_grpc, query_grpc),
        (
            "remote sampling over HTTP",
            own.sampling_http,
            sampling.clone(),
        ),
        ("remote sampling over gRPC", own.sampling_grpc, sampling),
    ] {
        listeners.serve(name, Listener::new(sockets, router).limits(limits));
    }
    Ok(listeners)
}

/// OTLP over gRPC and HTTP.
async fn otlp(pipeline: &Pipeline) -> Result<Router, ReflectionError> {
    const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
    let routes = Routes::from(pipeline.otlp_grpc());
    let (routes, _) = with_introspection(routes, &[SERVICE], OTLP_DESCRIPTORS).await?;
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port serves OTLP's TraceService",
    );
    Ok(by_protocol(pipeline.otlp_http(), grpc))
}

/// Jaeger's remote sampling over gRPC and HTTP, the policy stream, and the stream of tail rules.
async fn sampling(control: &Control) -> Result<Router, ReflectionError> {
    const SERVICES: [&str; 3] = [
        "jaeger.api_v2.SamplingManager",
        "spoor.control.v1.PolicyStream",
        "spoor.control.v1.TailRuleStream",
    ];
    let routes = Routes::new(control.sampling_grpc())
        .add_service(control.policy_stream())
        .add_service(control.tail_rule_stream());
    let (routes, _) = with_introspection(routes, &SERVICES, spoor_proto::DESCRIPTORS).await?;
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port serves jaeger.api_v2.SamplingManager, spoor.control.v1.PolicyStream and \
         spoor.control.v1.TailRuleStream",
    );
    Ok(by_protocol(control.sampling_http(), grpc))
}

/// Serves HTTP. gRPC clients receive the hint as an error in their own protocol.
fn http_only(http: Router, hint: &'static str) -> Router {
    by_protocol(http, grpc_fallback(Router::new(), hint))
}

/// The metrics of `/metrics`.
pub(super) fn metrics(control: &Control, pipeline: &Pipeline) -> Registry {
    let mut registry = Registry::default();
    control.register(&mut registry);
    pipeline.register(&mut registry);
    registry
}
