//! A fake Jaeger, and a gateway in front of it.

use std::net::SocketAddr;

use axum::Router;
use reqwest::{Client, Response, redirect::Policy};
use spoor_telemetry::serve::{ServeError, ServiceArgs};
use spoor_testing::{Running, args};
use spoor_wishlist::gateway;
use tokio::net::TcpListener;

use crate::spans::CAPTURED;

pub struct Gateway {
    pub running: Running<ServeError>,
    client: Client,
}

impl Gateway {
    /// Starts a gateway that proxies the Jaeger at this URL.
    pub async fn of(jaeger: &str, flags: &[&str]) -> Self {
        let jaeger = format!("--jaeger={jaeger}");
        let args: ServiceArgs<gateway::GatewayArgs> = args(&[flags, &[&jaeger]].concat());
        Self {
            running: Running::start(args, &CAPTURED.gateway).await,
            client: Client::builder().redirect(Policy::none()).build().unwrap(),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        let request = request.build().unwrap();
        self.client.execute(request).await.unwrap()
    }
}

/// Serves a router until the test ends.
pub async fn peer(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}
