//! Running services.

use std::{net::SocketAddr, ops::Deref, time::Duration};

use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_telemetry::serve::{ServeError, ServiceArgs};
use spoor_testing::{Running, infrastructure::channel, unused_address};
use spoor_wishlist::{gateway, wishlist};
use tonic::transport::Channel;

use crate::spans::CAPTURED;

pub use spoor_testing::{args, json};

/// wishlist on free ports.
pub struct Wishlist(Running<wishlist::WishlistError>);

/// The gateway on free ports, and a client that follows no redirects.
pub struct Gateway {
    pub address: SocketAddr,
    client: Client,
    running: Running<ServeError>,
}

impl Deref for Wishlist {
    type Target = Running<wishlist::WishlistError>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Wishlist {
    pub async fn on(database_url: &str) -> Self {
        let flag = format!("--database-url={database_url}");
        let args: ServiceArgs<wishlist::WishlistArgs> = args(&[&flag]);
        Self(Running::start(args, &CAPTURED.wishlist).await)
    }

    pub async fn client(&self) -> WishlistClient<Channel> {
        WishlistClient::new(channel(self.address).await)
    }

    pub async fn end(mut self) {
        self.0.stop.cancel();
        (&mut self.0.task).await.unwrap().unwrap();
    }
}

impl Gateway {
    /// Starts a gateway without offers.
    pub async fn of(wishlist: SocketAddr) -> Self {
        Self::with(wishlist, unused_address()).await
    }

    pub async fn with(wishlist: SocketAddr, offers: SocketAddr) -> Self {
        Self::within("5s", wishlist, offers).await
    }

    /// Starts a gateway with this deadline.
    pub async fn within(deadline: &str, wishlist: SocketAddr, offers: SocketAddr) -> Self {
        let deadline = format!("--deadline={deadline}");
        let wishlist = format!("--wishlist=http://{wishlist}");
        let offers = format!("--offers=http://{offers}");
        let flags = [
            deadline.as_str(),
            wishlist.as_str(),
            offers.as_str(),
            "--trace-url=http://traces.example/trace/{id}",
        ];
        let args: ServiceArgs<gateway::GatewayArgs> = args(&flags);
        let running = Running::start(args, &CAPTURED.gateway).await;
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self {
            address: running.address,
            client,
            running,
        }
    }

    /// Starts a gateway without wishlist.
    pub async fn alone() -> Self {
        Self::of(unused_address()).await
    }

    /// Stops the gateway, and asserts that this takes no longer than `within`.
    pub async fn end(mut self, within: Duration) {
        self.running.stop.cancel();
        let ended = tokio::time::timeout(within, &mut self.running.task).await;
        ended.unwrap().unwrap().unwrap();
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

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// wishlist in memory, and its gateway.
pub async fn both() -> (Wishlist, Gateway) {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let gateway = Gateway::of(wishlist.address).await;
    (wishlist, gateway)
}
