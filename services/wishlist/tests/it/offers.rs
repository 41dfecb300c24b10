//! offers and three marketplaces beside the gateway and wishlist.

mod hostile;
mod outage;
mod rounds;
mod trace;
mod updates;

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use spoor_telemetry::serve::{ServeError, ServiceArgs};
use spoor_testing::{Running, args_at, infrastructure, ports::free};
use spoor_wishlist::{marketplace, offers};
use tokio::time::Instant;

use crate::{
    running::{Gateway, Wishlist, args, json},
    spans::CAPTURED,
};

/// Longer than any of these tests takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// All services.
struct Mesh {
    gateway: Gateway,
    offers: Running<ServeError>,
    _wishlist: Wishlist,
    _marketplaces: Vec<Running<ServeError>>,
}

impl Mesh {
    /// Starts all services with these marketplaces, given by names and flags.
    async fn of(marketplaces: &[(&str, &[&str])], every: &str) -> Self {
        let mut running = Vec::new();
        let mut peers = Vec::new();
        for (name, flags) in marketplaces {
            let marketplace = marketplace(name, flags).await;
            peers.push((*name, marketplace.address));
            running.push(marketplace);
        }
        Self {
            _marketplaces: running,
            ..Self::with_peers(&peers, every).await
        }
    }

    /// Starts the other services with the addresses of marketplaces, which need not be running.
    async fn with_peers(peers: &[(&str, SocketAddr)], every: &str) -> Self {
        let wishlist = Wishlist::on("sqlite::memory:").await;
        let offers = offers(wishlist.address, peers, every).await;
        Self {
            gateway: Gateway::with(wishlist.address, offers.address).await,
            offers,
            _wishlist: wishlist,
            _marketplaces: Vec::new(),
        }
    }

    /// Adds a wish and returns its ID and the trace ID.
    async fn wish(&self, name: &str) -> (String, String) {
        let body = json!({ "name": name }).to_string();
        let added = self.gateway.post("/api/wishes", "application/json", body);
        let response = added.send().await.unwrap();
        let trace = response.headers()["x-trace-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let (status, wish) = json(response).await;
        assert_eq!(status, 201, "{wish}");
        (wish["id"].as_str().unwrap().to_owned(), trace)
    }

    /// Waits until `/api/offers` meets a condition.
    async fn listing(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (status, listing) = json(self.gateway.get("/api/offers").await).await;
            if status == 200 && matches(&listing) {
                return listing;
            }
            assert!(Instant::now() < deadline, "{what}: {listing:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn marketplace(name: &str, flags: &[&str]) -> Running<ServeError> {
    let name = format!("--name={name}");
    let flags = [&[name.as_str(), "--latency=1ms"], flags].concat();
    let args: ServiceArgs<marketplace::MarketplaceArgs> = args(&flags);
    Running::start(args, &CAPTURED.marketplace).await
}

/// A marketplace with a fixed address, which can be stopped and started again.
async fn marketplace_at(address: SocketAddr, name: &str) -> Running<ServeError> {
    let listen = format!("--listen={address}");
    let name = format!("--name={name}");
    let flags = [
        listen.as_str(),
        "--ops-listen=127.0.0.1:0",
        name.as_str(),
        "--latency=1ms",
    ];
    let args: ServiceArgs<marketplace::MarketplaceArgs> = args_at(&flags);
    Running::start(args, &CAPTURED.marketplace).await
}

async fn offers(
    wishlist: SocketAddr,
    peers: &[(&str, SocketAddr)],
    every: &str,
) -> Running<ServeError> {
    let peers: Vec<String> = peers
        .iter()
        .map(|(name, address)| format!("{name}=http://{address}"))
        .collect();
    let flags = [
        format!("--wishlist=http://{wishlist}"),
        format!("--marketplaces={}", peers.join(",")),
        format!("--every={every}"),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let args: ServiceArgs<offers::OffersArgs> = args(&flags);
    Running::start(args, &CAPTURED.offers).await
}

/// The offers for a wish on a marketplace.
fn on<'a>(listing: &'a Value, wish: &str, marketplace: &str) -> Vec<&'a Value> {
    let offers = listing["offers"].as_array().unwrap().iter();
    offers
        .filter(|offer| offer["wishId"] == wish && offer["marketplace"] == marketplace)
        .collect()
}

/// The names of the missing marketplaces.
fn missing(listing: &Value) -> Vec<&str> {
    let missing = listing["missing"].as_array().unwrap().iter();
    missing
        .map(|missing| missing["marketplace"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn services_have_health_reflection_and_metrics() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    infrastructure::assert_healthy(mesh.offers.address, "spoor.offers.v1.Offers").await;
    infrastructure::assert_listed(mesh.offers.address, "spoor.offers.v1.Offers").await;
    let attic = mesh._marketplaces[0].address;
    infrastructure::assert_healthy(attic, "spoor.marketplace.v1.Marketplace").await;

    let (wish, _) = mesh.wish("a lamp").await;
    let found = |listing: &Value| !on(listing, &wish, "attic").is_empty();
    mesh.listing("an offer", found).await;
    let metrics = infrastructure::metrics(mesh.offers.ops).await;
    for expected in [
        r#"spoor_offers_searches_total{marketplace="attic",outcome="succeeded"} "#,
        r#"spoor_offers_breaker{marketplace="attic",state="closed"} 1"#,
        r#"spoor_offers_breaker{marketplace="attic",state="open"} 0"#,
        r#"spoor_offers_retry_budget{marketplace="attic"} 10"#,
        "spoor_offers_kept ",
    ] {
        assert!(metrics.contains(expected), "{expected}: {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_wish_removes_its_offers() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let (wish, _) = mesh.wish("a ladder").await;
    let found = |listing: &Value| !on(listing, &wish, "attic").is_empty();
    mesh.listing("an offer", found).await;
    let path = format!("/api/wishes/{wish}");
    assert_eq!(mesh.gateway.delete(&path).await.status(), 204);
    mesh.listing("none", |listing| !found(listing)).await;
}

/// A port where nothing listens yet.
fn an_address() -> SocketAddr {
    let [address] = free();
    address
}
