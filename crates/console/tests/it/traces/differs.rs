//! What differs between selected traces and the others.

use reqwest::StatusCode;
use spoor_traces::TraceStore;

use super::{
    pages::{START, page_of, store},
    serve::Server,
    spans::{a_to_b, batch, insert, span, text},
};

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x>\u{202e}";

/// 12 fast traces and 8 slow ones, which have two attributes more.
fn insert_fast_and_slow(store: &TraceStore) {
    for number in 1..=20 {
        let is_slow = number > 12;
        let end = START + if is_slow { 1_000 } else { 10 };
        let mut one = span(number, 1, 0, "GET /", START, end);
        if is_slow {
            one.attributes = vec![text("db.pool", "exhausted"), text(HOSTILE, HOSTILE)];
        }
        insert(store, vec![batch("shop", vec![one])]);
    }
}

#[tokio::test]
async fn slow_traces_differ_by_an_attribute() {
    let store = store();
    insert_fast_and_slow(&store);
    let page = page_of(&store, "/differs?service=shop&select=slow&limit=20").await;
    for expected in [
        "Based on 20 traces: 8 longer than 10 ms and 12 others.",
        "Sampling decided which traces exist here",
        "<a href=\"./search?tags=db%2Epool%3D%22exhausted%22\">db.pool = exhausted</a>",
        "<td>8 of 8</td><td>0 of 12</td>",
        "very strong<span class=\"soft\"> (p &lt; 0.0001)</span>",
        "name=\"service\" value=\"shop\"",
    ] {
        assert!(page.contains(expected), "{expected} is missing: {page}");
    }
    assert!(!page.contains("<script>") && !page.contains("<img"));
    assert!(!page.contains("\"'>") && !page.contains('\u{202e}'));
}

#[tokio::test]
async fn given_duration_selects_slow_traces() {
    let store = store();
    insert_fast_and_slow(&store);
    let page = page_of(&store, "/differs?select=slow&slower=1s").await;
    assert!(page.contains("0 longer than 1 s and 20 others."));
    assert!(page.contains("no trace is selected."));
}

#[tokio::test]
async fn failed_traces_are_compared() {
    let store = store();
    for number in 1..=10 {
        insert(&store, a_to_b(number, START, 100, number > 5));
    }
    let page = page_of(&store, "/differs?select=failed").await;
    assert!(page.contains("Based on 10 traces: 5 with an error and 5 others."));
    assert!(page.contains("http.response.status_code = 500"));
    assert!(!page.contains("http.response.status_code = 200"));
}

#[tokio::test]
async fn invalid_fields_are_explained() {
    let server = Server::start(&store()).await;
    for path in ["/differs?slower=soon", "/differs?minDuration=soon"] {
        let (status, page) = server.text(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.contains("value=\"soon\""), "{path}");
    }
    let (status, page) = server.text("/differs").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Based on 0 traces"));
    let (status, _) = Server::start_unreachable().await.text("/differs").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn search_form_leads_to_the_page() {
    let page = page_of(&store(), "/").await;
    assert!(page.contains("formaction=\"./differs\" name=\"select\" value=\"slow\""));
}
