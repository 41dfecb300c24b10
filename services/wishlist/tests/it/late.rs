//! Peers that accept calls and never respond.

use spoor_testing::{json, unused_address};
use tokio::net::TcpListener;

use crate::running::{Gateway, Wishlist};

const FORM: &str = "application/x-www-form-urlencoded";

/// A listener whose connections are never read.
async fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_offers_do_not_fail_an_added_wish() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let offers = silent().await;
    let address = offers.local_addr().unwrap();
    // The calls to offers have the same deadline as those to wishlist.
    let gateway = Gateway::within("1s", wishlist.address, address).await;
    let wish = gateway.post("/api/wishes", "application/json", r#"{"name":"a kite"}"#);
    assert_eq!(json(wish.send().await.unwrap()).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_reports_a_wishlist_timeout() {
    let wishlist = silent().await;
    let address = wishlist.local_addr().unwrap();
    let gateway = Gateway::within("300ms", address, unused_address()).await;
    let added = gateway.post("/wishes", FORM, "name=a+kite").send();
    for response in [gateway.get("/").await, added.await.unwrap()] {
        assert_eq!(response.status(), 504);
        let page = response.text().await.unwrap();
        assert!(
            page.contains("<html") && page.contains("The wishlist did not respond in time"),
            "{page}"
        );
    }
}
