//! Two services, A (HTTP) and B (gRPC), as small as they can be.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::State, routing::get};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_sdk::trace::SpanData;
use spoor_proto::spoor::ab::v1::{
    WorkReply, WorkRequest,
    service_b_client::ServiceBClient,
    service_b_server::{ServiceB, ServiceBServer},
};
use spoor_telemetry::{
    Settings, Telemetry,
    export::{Accepted, Export, Sending},
    serve,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Endpoint, server::TcpIncoming},
};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tracing::Dispatch;

/// The layers that the services are built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// No layer at all.
    Bare,
    /// `OTEL_SDK_DISABLED`: metrics only.
    Disabled,
    /// Sampling 1 %.
    OnePercent,
    /// Sampling everything.
    Everything,
}

impl Variant {
    pub const ALL: [Self; 4] = [
        Self::Bare,
        Self::Disabled,
        Self::OnePercent,
        Self::Everything,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "no layers",
            Self::Disabled => "tracing off",
            Self::OnePercent => "sampling 1 %",
            Self::Everything => "sampling 100 %",
        }
    }

    fn settings(self) -> Settings {
        Settings::read(|name| {
            let value = match (name, self) {
                ("OTEL_SDK_DISABLED", Self::Disabled) => "true",
                ("OTEL_TRACES_SAMPLER", Self::OnePercent) => "traceidratio",
                ("OTEL_TRACES_SAMPLER_ARG", Self::OnePercent) => "0.01",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap()
    }
}

/// The two services, reachable.
pub struct Mesh {
    telemetry: Option<Telemetry>,
    dispatch: Dispatch,
    target: Target,
    stop: CancellationToken,
}

enum Target {
    InProcess(Router),
    Loopback(Box<Client<HttpConnector, Empty<Bytes>>>, SocketAddr),
}

type Calls = BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    io::Error,
>;

impl Mesh {
    pub async fn in_process(variant: Variant) -> Self {
        let (telemetry, dispatch) = telemetry(variant);
        let b = Routes::new(ServiceBServer::new(B)).prepare();
        let calls = match &telemetry {
            None => boxed(b),
            Some(telemetry) => {
                let b = telemetry.grpc_server_layer().layer(b);
                boxed(telemetry.grpc_client_layer().layer(b))
            }
        };
        let target = Target::InProcess(a(calls, telemetry.as_ref()));
        Self {
            telemetry,
            dispatch,
            target,
            stop: CancellationToken::new(),
        }
    }

    pub async fn over_loopback(variant: Variant) -> Self {
        let (telemetry, dispatch) = telemetry(variant);
        let stop = CancellationToken::new();
        let b = serve_b(telemetry.clone(), stop.clone()).await;
        let channel = Endpoint::try_from(format!("http://{b}"))
            .unwrap()
            .connect_lazy();
        let calls = match &telemetry {
            None => boxed(channel),
            Some(telemetry) => boxed(telemetry.grpc_client_layer().layer(channel)),
        };
        let listener = serve::bind("127.0.0.1:0".parse().unwrap(), "A")
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let router = a(calls, telemetry.as_ref());
        tokio::spawn(serve::http(listener, router, Duration::ZERO, stop.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            telemetry,
            dispatch,
            target: Target::Loopback(Box::new(client), address),
            stop,
        }
    }

    /// Runs it where `tracing` belongs to these services.
    pub fn inside<T>(&self, run: impl FnOnce() -> T) -> T {
        tracing::dispatcher::with_default(&self.dispatch, run)
    }

    pub async fn request(&self) {
        let status = match &self.target {
            Target::InProcess(router) => {
                let request = http::Request::get("/").body(Body::empty()).unwrap();
                let response = router.clone().oneshot(request).await.unwrap();
                let status = response.status();
                response.into_body().collect().await.unwrap();
                status
            }
            Target::Loopback(client, address) => {
                let uri = format!("http://{address}/").parse().unwrap();
                let response = client.get(uri).await.unwrap();
                let status = response.status();
                response.into_body().collect().await.unwrap();
                status
            }
        };
        assert_eq!(status, 200);
    }

    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(telemetry) = self.telemetry {
            telemetry.shutdown(Duration::from_secs(5)).await;
        }
    }
}

fn telemetry(variant: Variant) -> (Option<Telemetry>, Dispatch) {
    if variant == Variant::Bare {
        return (None, Dispatch::none());
    }
    let telemetry = Telemetry::with_exporter(variant.settings(), Arc::new(Discard)).unwrap();
    let dispatch = Dispatch::new(telemetry.subscriber().unwrap());
    (Some(telemetry), dispatch)
}

fn boxed<S>(service: S) -> Calls
where
    S: Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>,
    S: Clone + Send + Sync + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send,
{
    BoxCloneSyncService::new(service.map_err(io::Error::other))
}

/// A: asks B, and answers with what it got.
fn a(calls: Calls, telemetry: Option<&Telemetry>) -> Router {
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
    match telemetry {
        None => router,
        Some(telemetry) => telemetry.http_server(router),
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

async fn serve_b(telemetry: Option<Telemetry>, stop: CancellationToken) -> SocketAddr {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let incoming = incoming.with_nodelay(Some(true));
    let routes = Routes::new(ServiceBServer::new(B));
    let server = tonic::transport::Server::builder();
    let stopped = stop.cancelled_owned();
    let serving: Pin<Box<dyn Future<Output = _> + Send>> = match telemetry {
        None => {
            let mut server = server;
            Box::pin(
                server
                    .add_routes(routes)
                    .serve_with_incoming_shutdown(incoming, stopped),
            )
        }
        Some(telemetry) => {
            let mut server = server.layer(telemetry.grpc_server_layer());
            Box::pin(
                server
                    .add_routes(routes)
                    .serve_with_incoming_shutdown(incoming, stopped),
            )
        }
    };
    tokio::spawn(serving);
    address
}

/// Takes all spans and forgets them, encoded like others.
struct Discard;

impl Export for Discard {
    fn encode(&self, spans: Vec<SpanData>) -> Bytes {
        use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
        use prost::Message;

        let resource = &opentelemetry_sdk::Resource::builder_empty().build();
        let resource_spans = group_spans_by_resource_and_scope(spans, &resource.into());
        opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
            resource_spans,
        }
        .encode_to_vec()
        .into()
    }

    fn send(&self, _: Bytes) -> Sending<'_> {
        Box::pin(async { Ok(Accepted::default()) })
    }
}
