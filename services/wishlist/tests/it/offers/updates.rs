//! The stream of updates for an open page.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Response;
use serde_json::Value;
use spoor_proto::spoor::marketplace::v1::{
    Offer, SearchReply, SearchRequest,
    marketplace_server::{Marketplace, MarketplaceServer},
};
use spoor_telemetry::serve;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::{DEADLINE, Mesh, an_address, missing, on};
use crate::{
    running::{Gateway, Wishlist},
    spans::CAPTURED,
};

/// The open stream of a page.
struct Page {
    response: Response,
    read: String,
}

impl Page {
    async fn of(gateway: &Gateway) -> Self {
        let response = gateway.get("/api/offers/stream").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            read: String::new(),
        }
    }

    /// Waits for the next event of this name that meets a condition.
    async fn next(&mut self, name: &str, matches: impl Fn(&Value) -> bool) -> Value {
        tokio::time::timeout(DEADLINE, async {
            loop {
                let (event, data) = self.event().await.expect("another event");
                if event == name && matches(&data) {
                    return data;
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{name}: {}", self.read))
    }

    /// The next event, or `None` at the end of the stream.
    async fn event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let block: String = self.read.drain(..end + 2).collect();
                let field = |key: &str| block.lines().find_map(|line| line.strip_prefix(key));
                let (Some(event), Some(data)) = (field("event: "), field("data: ")) else {
                    continue;
                };
                return Some((event.to_owned(), serde_json::from_str(data).unwrap()));
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_offers_reach_every_open_page() {
    let mesh = Mesh::of(&[("attic", &[]), ("corner", &[])], "1d").await;
    let mut pages = [Page::of(&mesh.gateway).await, Page::of(&mesh.gateway).await];
    // Only the first page gets this event if offers was connected before the second page opened.
    pages[0].next("available", |_| true).await;
    let (wish, _) = mesh.wish("a kite").await;
    for page in &mut pages {
        let mut found = BTreeSet::new();
        while found.len() < 2 {
            let offer = page.next("offer", |_| true).await;
            assert_eq!(offer["wishId"], wish.as_str());
            assert!(offer["title"].as_str().unwrap().starts_with("a kite, "));
            assert!(offer["price"].as_str().unwrap().contains('.'), "{offer}");
            found.insert(offer["marketplace"].as_str().unwrap().to_owned());
        }
        assert!(found.contains("attic") && found.contains("corner"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_marketplaces_are_listed() {
    let address = an_address();
    let mesh = Mesh::with_peers(&[("attic", address)], "1d").await;
    let mut page = Page::of(&mesh.gateway).await;
    page.next("available", |_| true).await;
    mesh.wish("a ghost").await;
    let missing = page.next("missing", |_| true).await;
    assert_eq!(missing[0]["marketplace"], "attic");
    assert!(missing[0]["why"].as_str().unwrap().len() > 10, "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_report_an_outage_of_offers() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let offers = an_address();
    let gateway = Gateway::with(wishlist.address, offers).await;
    let mut page = Page::of(&gateway).await;
    let why = page.next("unavailable", |_| true).await;
    assert!(why.as_str().unwrap().contains("cannot be reached"), "{why}");
    let listen = format!("--listen={offers}");
    let flags = [listen.as_str(), "--ops-listen=127.0.0.1:0", "--every=1d"];
    let args: serve::ServiceArgs<spoor_wishlist::offers::OffersArgs> =
        spoor_testing::args_at(&flags);
    let _offers = spoor_testing::Running::start(args, &CAPTURED.offers).await;
    page.next("available", |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_does_not_delay_shutdown() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let mut page = Page::of(&mesh.gateway).await;
    page.next("available", |_| true).await;
    mesh.gateway.end(Duration::from_secs(3)).await;
    let ended = tokio::time::timeout(DEADLINE, page.event()).await;
    assert!(ended.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_beyond_the_limit_are_refused() {
    const MAX_PAGES: usize = 128;
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let mut pages = Vec::new();
    for _ in 0..MAX_PAGES {
        pages.push(Page::of(&mesh.gateway).await);
    }
    let (status, problem) =
        crate::running::json(mesh.gateway.get("/api/offers/stream").await).await;
    assert_eq!(status, 503, "{problem}");
    pages.pop();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while mesh.gateway.get("/api/offers/stream").await.status() != 200 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A marketplace that sends invalid offers.
#[derive(Debug)]
struct Hostile;

#[tonic::async_trait]
impl Marketplace for Hostile {
    async fn search(
        &self,
        _: Request<SearchRequest>,
    ) -> Result<tonic::Response<SearchReply>, Status> {
        let offer = |id: &str, title: &str| Offer {
            id: id.to_owned(),
            title: title.to_owned(),
            price_hundredths: 1,
            currency: "EUR".to_owned(),
            seller: "</span><img src=x onerror='y'>".to_owned(),
        };
        let offers = vec![
            offer("\"><script>alert(1)</script>", "<script>alert(2)</script>"),
            offer("2", "two\nlines\u{0}"),
            offer("3", &"x".repeat(100_000)),
            offer("", "nothing"),
            offer("1", "once"),
            offer("1", "once more"),
        ];
        Ok(tonic::Response::new(SearchReply { offers }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_marketplace_cannot_inject_html() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = serve::Grpc {
        grace: Duration::ZERO,
        ..serve::Grpc::new(MarketplaceServer::new(Hostile), spoor_proto::DESCRIPTORS)
    };
    let stop = CancellationToken::new();
    let serving = serve::grpc(listener, server, &CAPTURED.marketplace, stop.clone());
    let serving = tokio::spawn(serving);
    let mesh = Mesh::with_peers(&[("evil", address)], "1d").await;
    let (wish, _) = mesh.wish("a mirror").await;
    let listing = mesh
        .listing("its offers", |listing| {
            !on(listing, &wish, "evil").is_empty()
        })
        .await;
    let titles: Vec<_> = on(&listing, &wish, "evil")
        .iter()
        .map(|offer| offer["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["<script>alert(2)</script>", "once"]);
    assert!(missing(&listing).is_empty());
    let page = mesh.gateway.get("/").await.text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(2)"), "{page}");
    for evil in ["<script>", "<img src=x"] {
        assert!(!page.contains(evil), "{page}");
    }
    stop.cancel();
    drop(serving);
}
