//! Peers that take a call and say nothing.

use spoor_testing::{json, nowhere};
use tokio::net::TcpListener;

use crate::running::{Gateway, Wishlist};

const FORM: &str = "application/x-www-form-urlencoded";

/// Connections to it come about, and nobody reads what comes over them.
async fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_was_made_is_not_answered_as_late_because_offers_is() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let offers = silent().await;
    let address = offers.local_addr().unwrap();
    // offers is given as long as the wishlist.
    let gateway = Gateway::within("1s", wishlist.address, address).await;
    let wish = gateway.post("/api/wishes", "application/json", r#"{"name":"a kite"}"#);
    assert_eq!(json(wish.send().await.unwrap()).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_itself_says_that_the_wishlist_is_late() {
    let wishlist = silent().await;
    let address = wishlist.local_addr().unwrap();
    let gateway = Gateway::within("300ms", address, nowhere()).await;
    let added = gateway.post("/wishes", FORM, "name=a+kite").send();
    for answer in [gateway.get("/").await, added.await.unwrap()] {
        assert_eq!(answer.status(), 504);
        let page = answer.text().await.unwrap();
        assert!(
            page.contains("<html") && page.contains("The wishlist did not respond in time"),
            "{page}"
        );
    }
}
