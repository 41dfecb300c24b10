//! Repeated siblings in the waterfall.

use opentelemetry_proto::tonic::trace::v1::Status;
use spoor_traces::TraceStore;

use super::{
    pages::{START, TRACE, page_of, store},
    spans::{batch, insert, span},
};

const STATEMENT: &str = "SELECT <order_line>";

/// A trace of 402 spans: a slow operation among 100 others and 300 repeated statements.
fn insert_repeated(store: &TraceStore) {
    let mut spans = vec![span(1, 1, 0, "GET /orders", START, START + 3_000)];
    let slow = span(1, 2, 1, "price", START + 1_500, START + 2_900);
    spans.push(slow);
    spans.extend((0..300).map(|number| {
        let start = START + 4 * number;
        span(1, 10 + number, 1, STATEMENT, start, start + 3)
    }));
    spans.extend((0..100).map(|number| {
        let start = START + 1_300 + number;
        let name = format!("step {number}");
        span(1, 1_000 + number, 1, &name, start, start + 1)
    }));
    spans[5].status = Some(Status {
        message: String::new(),
        code: 2,
    });
    insert(store, vec![batch("orders", spans)]);
}

#[tokio::test]
async fn repeated_siblings_are_one_row() {
    let store = store();
    insert_repeated(&store);
    let page = page_of(&store, TRACE).await;
    assert_eq!(page.matches("class=\"group failed\"").count(), 1);
    for expected in [
        "× 300, 900 ms in total",
        "Repeated spans are in 1 group. <a href=\"../trace/5b8efff7980381030000000000000001?all=show\">",
        "<span class=\"badge error\">1 error</span>",
        "100 more are not shown here.",
        "price",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    // The root, the slow operation, the others, the group, and the first of its members.
    assert_eq!(page.matches("<summary>").count(), 103 + 200);
    assert!(!page.contains(STATEMENT));
}

#[tokio::test]
async fn all_spans_can_be_shown() {
    let store = store();
    insert_repeated(&store);
    let page = page_of(&store, &format!("{TRACE}?all=show")).await;
    assert!(!page.contains("<li class=\"group"));
    assert_eq!(page.matches("<summary>").count(), 402);
    assert!(page.contains("Group repeated spans"));
}

#[tokio::test]
async fn group_counts_as_one_row_of_a_page() {
    let store = store();
    let mut spans = vec![span(1, 1, 0, "root", START, START + 9_000)];
    for number in 0..1_500 {
        let start = START + number;
        spans.push(span(1, 10 + 2 * number, 1, "repeated", start, start + 1));
        let name = format!("step {number}");
        spans.push(span(1, 11 + 2 * number, 1, &name, start, start + 1));
    }
    insert(&store, vec![batch("service", spans)]);
    let page = page_of(&store, TRACE).await;
    assert!(page.contains("Rows 1–1,000 of 1,502"));
    assert!(page.contains("× 1,500, 1.5 s in total"));
    let (_, link) = page
        .split_once("class=\"button quiet\" href=\"../trace/")
        .unwrap();
    let (_, link) = link.split_once("?from=").unwrap();
    let (from, _) = link.split_once('"').unwrap();
    let next = page_of(&store, &format!("{TRACE}?from={from}")).await;
    assert!(next.contains("Rows 1,001–1,502 of 1,502"));
}
