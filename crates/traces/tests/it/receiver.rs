//! A pipeline behind its OTLP receivers, on ports of its own.

use std::{net::SocketAddr, time::Duration};

use prometheus_client::{encoding::text::encode, registry::Registry};
use reqwest::{Client, RequestBuilder, StatusCode};
use spoor_traces::{Pipeline, PipelineSettings};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Running receivers, which stop when dropped.
pub struct Receiver {
    pub pipeline: Pipeline,
    pub shutdown: CancellationToken,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Receiver {
    pub async fn start(settings: PipelineSettings) -> Self {
        let shutdown = CancellationToken::new();
        let pipeline = Pipeline::start(settings, shutdown.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let app = pipeline.otlp_http();
        let serve_http = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = listener.local_addr().unwrap();
        let routes = tonic::service::Routes::from(pipeline.otlp_grpc());
        let server = tonic::transport::Server::builder().add_routes(routes);
        let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let serve_grpc =
            tokio::spawn(async move { server.serve_with_incoming(connections).await.unwrap() });
        let tasks = [serve_http, serve_grpc];
        Self {
            pipeline,
            shutdown,
            http,
            grpc,
            tasks,
        }
    }

    /// A POST of protobuf to `/v1/traces`.
    pub fn post(&self, body: Vec<u8>) -> RequestBuilder {
        let url = format!("http://{}/v1/traces", self.http);
        Client::new()
            .post(url)
            .header("content-type", "application/x-protobuf")
            .body(body)
    }

    pub async fn post_ok(&self, body: Vec<u8>) {
        let response = self.post(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.pipeline.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    /// Checks that every span received is kept, dropped or gathering.
    pub fn assert_balanced(&self) {
        assert_balanced(&self.pipeline);
    }
}

pub fn assert_balanced(pipeline: &Pipeline) {
    let totals = pipeline.totals();
    assert_eq!(
        totals.received,
        totals.kept + totals.dropped() + totals.gathering,
        "{totals:?}"
    );
}

/// Waits until a condition is true, for at most ten seconds.
pub async fn eventually(what: &str, is_true: impl Fn() -> bool) {
    let waiting = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .is_ok(),
        "{what}"
    );
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
