//! Outages of marketplaces and wishlist, and the recovery.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use spoor_testing::unused_address;
use tokio_util::sync::CancellationToken;

use super::{Mesh, an_address, marketplace, marketplace_at, missing, on};
use crate::running::{Gateway, Wishlist};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_marketplace_recovers_under_load() {
    let [attic, bazaar] = [an_address(), an_address()];
    let corner = marketplace("corner", &[]).await;
    let _attic = marketplace_at(attic, "attic").await;
    let mut first = marketplace_at(bazaar, "bazaar").await;
    let peers = [
        ("attic", attic),
        ("bazaar", bazaar),
        ("corner", corner.address),
    ];
    let mesh = Arc::new(Mesh::with_peers(&peers, "200ms").await);
    let (wish, _) = mesh.wish("a phoenix").await;
    let all = |listing: &Value| {
        missing(listing).is_empty()
            && peers
                .iter()
                .all(|(name, _)| !on(listing, &wish, name).is_empty())
    };
    mesh.listing("offers of all three", all).await;

    let stop = CancellationToken::new();
    let load = tokio::spawn(load(Arc::clone(&mesh), stop.clone()));
    first.stop.cancel();
    (&mut first.task).await.unwrap().unwrap();
    let degraded = mesh
        .listing("one is missing", |listing| missing(listing) == ["bazaar"])
        .await;
    let why = degraded["missing"][0]["why"].as_str().unwrap();
    assert!(
        why.contains("Unavailable") || why.contains("Cancelled"),
        "{why}"
    );
    // Its earlier offers are kept, and the others find new ones.
    assert!(!on(&degraded, &wish, "bazaar").is_empty());
    let (new, _) = mesh.wish("a new phoenix").await;
    let others = |listing: &Value| {
        !on(listing, &new, "attic").is_empty() && !on(listing, &new, "corner").is_empty()
    };
    mesh.listing("offers of the others", others).await;
    mesh.listing("its breaker opens", |listing| {
        let why = listing["missing"][0]["why"].as_str().unwrap_or_default();
        why.contains("circuit breaker is open")
    })
    .await;
    let page = mesh.gateway.get("/").await.text().await.unwrap();
    assert!(page.contains("Unavailable marketplaces: bazaar"), "{page}");

    let _second = marketplace_at(bazaar, "bazaar").await;
    let back =
        |listing: &Value| missing(listing).is_empty() && !on(listing, &new, "bazaar").is_empty();
    mesh.listing("bazaar has recovered", back).await;
    stop.cancel();
    let responses = load.await.unwrap();
    assert!(responses > 20, "{responses}");
}

/// Requests the page and the list until stopped, and asserts that all responses are successful.
async fn load(mesh: Arc<Mesh>, stop: CancellationToken) -> usize {
    let mut responses = 0;
    while !stop.is_cancelled() {
        for path in ["/", "/api/offers", "/api/wishes"] {
            assert_eq!(mesh.gateway.get(path).await.status(), 200, "{path}");
            responses += 1;
        }
    }
    responses
}

#[tokio::test(flavor = "multi_thread")]
async fn without_offers_the_page_works() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let gateway = Gateway::with(wishlist.address, unused_address()).await;
    let form = "application/x-www-form-urlencoded";
    let added = gateway.post("/wishes", form, "name=a+boat");
    assert_eq!(added.send().await.unwrap().status(), 303);
    let response = gateway.get("/").await;
    assert_eq!(response.status(), 200);
    let page = response.text().await.unwrap();
    assert!(
        page.contains("a boat") && page.contains("Cannot update offers"),
        "{page}"
    );
    let (status, problem) = crate::running::json(gateway.get("/api/offers").await).await;
    assert_eq!(status, 503, "{problem}");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn known_wishes_are_searched_without_wishlist() {
    let address = an_address();
    let mesh = Mesh::with_peers(&[("attic", address)], "100ms").await;
    let (wish, _) = mesh.wish("an echo").await;
    mesh.listing("attic is missing", |listing| missing(listing) == ["attic"])
        .await;
    mesh._wishlist.stop.cancel();
    let _attic = marketplace_at(address, "attic").await;
    let found = |listing: &Value| !on(listing, &wish, "attic").is_empty();
    mesh.listing("an offer", found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_does_not_wait_for_a_retry() {
    let mut mesh = Mesh::of(&[("corner", &["--rate-limit=1"])], "1d").await;
    for wish in ["a knot", "a rope", "a sail"] {
        mesh.wish(wish).await;
    }
    let started = Instant::now();
    mesh.offers.stop.cancel();
    (&mut mesh.offers.task).await.unwrap().unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}
