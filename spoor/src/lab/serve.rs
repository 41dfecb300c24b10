//! What serves behind each of the lab's doors.

use prometheus_client::registry::Registry;
use spoor_control::Control;
use spoor_traces::{Pipeline, page, query};
use tonic::transport::Server;

use super::{
    addresses::Open,
    admin::{self, Admin},
    doors::Doors,
};

/// Opens all doors.
pub(super) fn open_doors(
    open: Open,
    control: &Control,
    pipeline: &Pipeline,
    admin: Admin,
) -> Doors {
    let mut doors = Doors::new();
    doors.grpc(
        "OTLP over gRPC",
        open.otlp_grpc,
        Server::builder().add_service(pipeline.otlp_grpc()),
    );
    doors.http("OTLP over HTTP", open.otlp_http, pipeline.otlp_http());
    let store = pipeline.store();
    let traces = query::http(store.clone()).merge(page::router(store.clone()));
    doors.http("traces over HTTP", open.query_http, traces);
    let traces = Server::builder().add_service(query::grpc(store.clone()));
    doors.grpc("traces over gRPC", open.query_grpc, traces);
    doors.http(
        "remote sampling over HTTP",
        open.sampling_http,
        control.sampling_http(),
    );
    let sampling = Server::builder()
        .add_service(control.sampling_grpc())
        .add_service(control.policy_stream());
    doors.grpc("remote sampling over gRPC", open.sampling_grpc, sampling);
    doors.http("the lab's API", open.admin, admin::router(admin));
    doors
}

/// What `/metrics` tells.
pub(super) fn metrics(control: &Control, pipeline: &Pipeline) -> Registry {
    let mut registry = Registry::default();
    control.register(&mut registry);
    pipeline.register(&mut registry);
    registry
}
