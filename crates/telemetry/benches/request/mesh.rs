//! Two minimal services, A (HTTP) and B (gRPC).

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::State, routing::get};
use axum_tracing_opentelemetry::middleware::{OtelAxumLayer, OtelInResponseLayer};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use spoor_proto::spoor::ab::v1::{
    WorkReply, WorkRequest,
    service_b_client::ServiceBClient,
    service_b_server::{ServiceB, ServiceBServer},
};
use spoor_telemetry::serve;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tonic_tracing_opentelemetry::middleware::{client, server};
use tower::{BoxError, Layer, ServiceExt, util::BoxCloneSyncService};

use crate::stack::{Layers, Stack};

type Calls = BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    Status,
>;

/// The two services, running.
pub struct Mesh {
    pub stack: Stack,
    client: Client<HttpConnector, Empty<Bytes>>,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Mesh {
    pub async fn start(stack: Stack) -> Self {
        let stop = CancellationToken::new();
        let b = serve_b(&stack.layers, stop.clone());
        let listener = serve::bind("127.0.0.1:0".parse().unwrap(), "A").unwrap();
        let address = listener.local_addr().unwrap();
        let router = a(&stack.layers, calls(&stack.layers, b));
        tokio::spawn(serve::http(listener, router, Duration::ZERO, stop.clone()));
        Self {
            stack,
            client: Client::builder(TokioExecutor::new()).build_http(),
            address,
            stop,
        }
    }

    /// Calls a function with the `tracing` subscriber of these services.
    pub fn inside<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.stack.dispatch, run)
    }

    pub async fn request(&self) {
        let uri = format!("http://{}/", self.address).parse().unwrap();
        let response = self.client.get(uri).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.stack.stop().await;
    }
}

/// A's channel to B.
fn calls(layers: &Layers, b: SocketAddr) -> Calls {
    let channel = Endpoint::try_from(format!("http://{b}"))
        .unwrap()
        .connect_lazy();
    let status = |error: tonic::transport::Error| Status::from_error(error.into());
    match layers {
        Layers::None => Calls::new(channel.map_err(status)),
        Layers::Ours(telemetry) => {
            // Our layer expects the error type of our own channel.
            let layered = telemetry.grpc_client_layer();
            let layered = layered.layer(channel.map_err(BoxError::from));
            Calls::new(layered.map_err(Status::from_error))
        }
        Layers::Stock(_) => Calls::new(client::OtelGrpcLayer.layer(channel).map_err(status)),
    }
}

/// A: calls B and responds with its result.
fn a(layers: &Layers, calls: Calls) -> Router {
    let router = Router::new()
        .route(
            "/",
            get(async |State(calls): State<Calls>| {
                let mut b = ServiceBClient::new(calls);
                let reply = b.work(WorkRequest::default()).await.unwrap();
                reply.into_inner().result.to_string()
            }),
        )
        .with_state(calls);
    match layers {
        Layers::None => router,
        Layers::Ours(telemetry) => telemetry.http_server(router),
        Layers::Stock(_) => router
            .layer(OtelInResponseLayer)
            .layer(OtelAxumLayer::default()),
    }
}

struct B;

#[tonic::async_trait]
impl ServiceB for B {
    async fn work(&self, _: Request<WorkRequest>) -> Result<Response<WorkReply>, Status> {
        let result = tracing::info_span!("heavy_calc").in_scope(|| std::hint::black_box(42));
        Ok(Response::new(WorkReply {
            result,
            ..WorkReply::default()
        }))
    }
}

fn serve_b(layers: &Layers, stop: CancellationToken) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let incoming = incoming.with_nodelay(Some(true));
    let routes = Routes::new(ServiceBServer::new(B));
    let stopped = stop.cancelled_owned();
    match layers {
        Layers::None => tokio::spawn(
            Server::builder()
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stopped),
        ),
        Layers::Ours(telemetry) => tokio::spawn(
            Server::builder()
                .layer(telemetry.grpc_server_layer())
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stopped),
        ),
        Layers::Stock(_) => tokio::spawn(
            Server::builder()
                .layer(server::OtelGrpcLayer::default())
                .add_routes(routes)
                .serve_with_incoming_shutdown(incoming, stopped),
        ),
    };
    address
}
