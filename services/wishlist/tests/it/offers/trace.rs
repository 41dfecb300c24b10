//! The trace of a new wish, with the searches on the marketplaces.

use opentelemetry::{
    Value,
    trace::{SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use spoor_testing::only_span;

use super::Mesh;
use crate::spans::CAPTURED;

const START_SEARCH: &str = "spoor.offers.v1.Offers/StartSearch";
const SEARCH: &str = "spoor.marketplace.v1.Marketplace/Search";

/// The spans of a trace, with lookups from parent to child.
struct Trace(Vec<SpanData>);

impl Trace {
    async fn of(id: &str, count: usize) -> Self {
        Self(CAPTURED.spans.trace(id, count).await)
    }

    fn below(&self, parent: SpanId, name: &str) -> Vec<&SpanData> {
        let mut below: Vec<_> = self
            .0
            .iter()
            .filter(|span| span.parent_span_id == parent && span.name == name)
            .collect();
        below.sort_by_key(|span| span.start_time);
        below
    }

    /// The span of the search on a marketplace.
    fn search_of(&self, marketplace: &str) -> &SpanData {
        let search = only_span(&self.0, "search offers", &SpanKind::Internal);
        let searches = self.below(search.span_context.span_id(), "search marketplace");
        let of_it = |span: &&&SpanData| text(span, "marketplace.name") == marketplace;
        searches.iter().find(of_it).unwrap()
    }
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut pairs = span.attributes.iter();
    Some(&pairs.find(|pair| pair.key.as_str() == key)?.value)
}

fn text(span: &SpanData, key: &str) -> String {
    attribute(span, key)
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn is_error(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_wish_and_its_searches_are_one_trace() {
    let marketplaces: [(&str, &[&str]); 3] = [
        ("attic", &[]),
        ("bazaar", &["--error-rate=100%"]),
        ("corner", &[]),
    ];
    let mesh = Mesh::of(&marketplaces, "1d").await;
    let (_, id) = mesh.wish("a trace").await;
    // 3 of gateway, 2 of wishlist, StartSearch, the search, 3 marketplaces, 5 attempts of 2 spans, 2 waits.
    let trace = Trace::of(&id, 22).await;
    assert_eq!(trace.0.len(), 22, "{:#?}", trace.0);

    let edge = only_span(&trace.0, "POST /api/wishes", &SpanKind::Server);
    let call = only_span(&trace.0, START_SEARCH, &SpanKind::Client);
    let start_search = only_span(&trace.0, START_SEARCH, &SpanKind::Server);
    let search = only_span(&trace.0, "search offers", &SpanKind::Internal);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    assert_eq!(call.parent_span_id, edge.span_context.span_id());
    assert_eq!(start_search.parent_span_id, call.span_context.span_id());
    assert_eq!(search.parent_span_id, start_search.span_context.span_id());
    assert_eq!(
        attribute(search, "marketplaces.missing"),
        Some(&Value::I64(1))
    );

    for (name, attempts) in [("attic", 1), ("corner", 1), ("bazaar", 3)] {
        let search = trace.search_of(name).span_context.span_id();
        let searches = trace.below(search, SEARCH);
        assert_eq!(searches.len(), attempts, "{name}");
        for (retries, search) in (0..).zip(searches) {
            assert_eq!(attribute(search, "retry.count"), Some(&Value::I64(retries)));
            assert_eq!(text(search, "breaker.state"), "closed");
            assert_eq!(is_error(search), name == "bazaar");
            let server = trace.below(search.span_context.span_id(), SEARCH);
            assert_eq!(server.len(), 1, "{name}");
            assert_eq!(server[0].span_kind, SpanKind::Server);
        }
    }
    let bazaar = trace.search_of("bazaar");
    assert!(is_error(bazaar) && text(bazaar, "error.type") == "failed");
    let waits = trace.below(bazaar.span_context.span_id(), "backoff");
    assert_eq!(waits.len(), 2);
    assert_eq!(text(waits[0], "retry.requested_by_marketplace"), "false");
    assert!(!is_error(trace.search_of("attic")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_is_visible_in_the_trace() {
    let mesh = Mesh::of(&[("bazaar", &["--error-rate=100%"])], "1d").await;
    let (_, first) = mesh.wish("a fuse").await;
    Trace::of(&first, 16).await;
    // Three attempts have failed; after two more the breaker is open, and no second wait follows.
    let (_, second) = mesh.wish("another fuse").await;
    let trace = Trace::of(&second, 13).await;
    let search = trace.search_of("bazaar");
    let below = |name| trace.below(search.span_context.span_id(), name).len();
    assert_eq!((below(SEARCH), below("backoff")), (2, 1));
    assert_eq!(text(search, "error.type"), "refused_by_breaker");

    let (_, third) = mesh.wish("one more fuse").await;
    let trace = Trace::of(&third, 8).await;
    let search = trace.search_of("bazaar");
    assert_eq!(trace.below(search.span_context.span_id(), SEARCH).len(), 0);
    assert_eq!(text(search, "breaker.state"), "open");
    let Status::Error { description } = &search.status else {
        panic!("{search:#?}")
    };
    assert!(
        description.contains("circuit breaker is open"),
        "{description}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rate_limited_search_waits_as_requested() {
    let mesh = Mesh::of(&[("corner", &["--rate-limit=1"])], "1d").await;
    let ((_, stamp), (_, coin)) = tokio::join!(mesh.wish("a stamp"), mesh.wish("a coin"));
    // One of them is first and does not wait.
    let trace = tokio::select! {
        trace = Trace::of(&stamp, 13) => trace,
        trace = Trace::of(&coin, 13) => trace,
    };
    let search = trace.search_of("corner").span_context.span_id();
    let searches = trace.below(search, SEARCH);
    assert_eq!(searches.len(), 2);
    assert_eq!(text(searches[0], "error.type"), "RESOURCE_EXHAUSTED");
    assert!(!is_error(searches[1]) && !is_error(trace.search_of("corner")));
    let waits = trace.below(search, "backoff");
    assert_eq!(text(waits[0], "retry.requested_by_marketplace"), "true");
    let waited = waits[0]
        .end_time
        .duration_since(waits[0].start_time)
        .unwrap();
    let Some(Value::I64(wait)) = attribute(waits[0], "retry.wait_ms") else {
        panic!("{waits:#?}")
    };
    assert!(
        (50..=1000).contains(wait) && waited.as_millis() >= 50,
        "{wait} {waited:?}"
    );
}
