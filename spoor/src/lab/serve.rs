//! What answers on each of the lab's own ports.

use axum::Router;
use prometheus_client::registry::Registry;
use spoor_control::Control;
use spoor_runtime::{Limits, Listener, by_protocol, grpc_fallback};
use spoor_traces::{Pipeline, page, query};
use tonic::service::Routes;

use super::{
    addresses::Open,
    admin::{self, Admin},
    listeners::Listeners,
};

/// Bodies of the admin API are read whole: this many of the largest at the same time.
const MAX_ADMIN_BODY_BYTES: usize = 8 * admin::BODY_BYTES;

/// Serves on all ports.
pub(super) fn listen(
    open: Open,
    control: &Control,
    pipeline: &Pipeline,
    admin: Admin,
) -> Listeners {
    let mut listeners = Listeners::new();
    let otlp = otlp(pipeline);
    listeners.serve(
        "OTLP over gRPC",
        Listener::new(open.otlp_grpc, otlp.clone()),
    );
    listeners.serve("OTLP over HTTP", Listener::new(open.otlp_http, otlp));
    let queries = query::Queries::new(pipeline.store().clone());
    let traces = query::http(&queries).merge(page::router(&queries));
    listeners.serve("traces over HTTP", Listener::new(open.query_http, traces));
    let traces = grpc_fallback(
        query::grpc(&queries).into_axum_router(),
        "this port has Jaeger's query API over gRPC; over HTTP it is on port 16686",
    );
    listeners.serve("traces over gRPC", Listener::new(open.query_grpc, traces));
    let sampling = sampling(control);
    listeners.serve(
        "remote sampling over HTTP",
        Listener::new(open.sampling_http, sampling.clone()),
    );
    listeners.serve(
        "remote sampling over gRPC",
        Listener::new(open.sampling_grpc, sampling),
    );
    let limits = Limits {
        max_body_bytes: MAX_ADMIN_BODY_BYTES,
        ..Limits::default()
    };
    let admin = Listener::new(open.admin, admin::router(admin)).limits(limits);
    listeners.serve("the lab's API", admin);
    listeners
}

/// OTLP in both protocols.
fn otlp(pipeline: &Pipeline) -> Router {
    let grpc = grpc_fallback(pipeline.otlp_grpc(), "this port has OTLP's TraceService");
    by_protocol(pipeline.otlp_http(), grpc)
}

/// Jaeger's remote sampling in both protocols, and the stream of policies.
fn sampling(control: &Control) -> Router {
    let routes = Routes::new(control.sampling_grpc()).add_service(control.policy_stream());
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port has jaeger.api_v2.SamplingManager and spoor.control.v1.PolicyStream",
    );
    by_protocol(control.sampling_http(), grpc)
}

/// What `/metrics` tells.
pub(super) fn metrics(control: &Control, pipeline: &Pipeline) -> Registry {
    let mut registry = Registry::default();
    control.register(&mut registry);
    pipeline.register(&mut registry);
    registry
}
