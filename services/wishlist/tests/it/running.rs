//! Starts the services.

use std::net::SocketAddr;

use clap::Parser;
use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use serde_json::Value;
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_wishlist::{gateway, wishlist};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::spans::CAUGHT;

/// Flags as the command line has them.
#[derive(Parser)]
struct Cli<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// wishlist on free ports.
pub struct Wishlist {
    pub address: SocketAddr,
    pub ops: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), wishlist::RunError>>,
}

/// The gateway on free ports, and a client that follows no redirects.
pub struct Gateway {
    pub address: SocketAddr,
    client: Client,
    stop: CancellationToken,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Drop for Wishlist {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn args<A: clap::Args>(flags: &[&str]) -> A {
    let ports = [
        "service",
        "--listen=127.0.0.1:0",
        "--ops-listen=127.0.0.1:0",
    ];
    Cli::parse_from(ports.iter().chain(flags)).args
}

impl Wishlist {
    pub async fn on(database_url: &str) -> Self {
        let flag = format!("--database-url={database_url}");
        let service = wishlist::Keeper::open(args(&[&flag])).await.unwrap();
        let (address, ops) = (service.address().unwrap(), service.ops_address().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let stop = stop.clone();
            async { service.serve(&CAUGHT.wishlist, stop).await }
        });
        Self {
            address,
            ops,
            stop,
            task,
        }
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub async fn client(&self) -> WishlistClient<Channel> {
        WishlistClient::new(self.channel().await)
    }

    pub async fn end(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Gateway {
    pub async fn of(wishlist: SocketAddr) -> Self {
        let wishlist = format!("--wishlist=http://{wishlist}");
        let flags = [
            wishlist.as_str(),
            "--traces-url=http://traces.example/trace/{id}",
        ];
        let service = gateway::Edge::bind(args(&flags)).await.unwrap();
        let address = service.address().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn({
            let stop = stop.clone();
            async { service.serve(&CAUGHT.gateway, stop).await }
        });
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            address,
            client,
            stop,
        }
    }

    /// One whose wishlist isn't there.
    pub async fn alone() -> Self {
        let nowhere = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        Self::of(nowhere).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.client.delete(self.url(path)).send().await.unwrap()
    }

    pub fn post(&self, path: &str, kind: &str, body: impl Into<String>) -> RequestBuilder {
        self.client
            .post(self.url(path))
            .header("content-type", kind)
            .body(body.into())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// wishlist in memory, and its gateway.
pub async fn both() -> (Wishlist, Gateway) {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let gateway = Gateway::of(wishlist.address).await;
    (wishlist, gateway)
}

/// The answer's status and body; failures must be problem documents.
pub async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let expected = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    let body = response.text().await.unwrap();
    assert_eq!(kind, expected, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    if status >= 400 {
        assert_eq!(body["status"], status, "{body}");
    }
    (status, body)
}
