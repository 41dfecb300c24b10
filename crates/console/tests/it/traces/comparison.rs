//! The comparison of two traces.

use reqwest::StatusCode;

use super::{
    pages::{START, page_of, store},
    serve::Server,
    spans::{a_to_b, batch, insert, span},
};

const FIRST: &str = "5b8efff7980381030000000000000001";
const SECOND: &str = "5b8efff7980381030000000000000002";

#[tokio::test]
async fn slow_and_fast_trace_are_compared() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    insert(&store, a_to_b(2, START, 1_100, false));
    for query in [
        format!("a={FIRST}&b={SECOND}"),
        format!("id={FIRST}&id={SECOND}"),
    ] {
        let page = page_of(&store, &format!("/compare?{query}")).await;
        for expected in [
            "Trace B takes 1 s longer.",
            "service-b <b>wait</b> itself takes 1 s more in trace B: 1.1 s instead of 100 ms.",
            "<span class=\"slower\">+1 s</span>",
            "call i3",
        ] {
            assert!(page.contains(expected), "{expected} is missing: {page}");
        }
    }
}

#[tokio::test]
async fn calls_of_one_trace_are_marked() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x>\u{202e}";
    let store = store();
    let first = vec![
        span(1, 1, 0, HOSTILE, START, START + 100),
        span(1, 2, 1, "read cache", START, START + 10),
    ];
    let second = vec![
        span(2, 1, 0, HOSTILE, START, START + 100),
        span(2, 2, 1, "read database", START, START + 90),
    ];
    insert(&store, vec![batch(HOSTILE, first)]);
    insert(&store, vec![batch(HOSTILE, second)]);
    let page = page_of(&store, &format!("/compare?a={FIRST}&b={SECOND}")).await;
    for expected in [
        "Both traces take the same time.",
        "<span class=\"badge\">only in A</span>",
        "<span class=\"badge\">only in B</span>",
        "<b>read database</b> occurs only in trace B: 1 span, whose own work takes 90 ms.",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("<script>") && !page.contains("<img"));
    assert!(!page.contains("\"'>") && !page.contains('\u{202e}'));
}

#[tokio::test]
async fn missing_or_invalid_ids_keep_the_form() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    let server = Server::start(&store).await;
    for (query, status, expected) in [
        (String::new(), StatusCode::OK, "Trace A"),
        (format!("?a={FIRST}"), StatusCode::OK, FIRST),
        (
            format!("?id={FIRST}"),
            StatusCode::BAD_REQUEST,
            "Select a second trace",
        ),
        (
            format!("?id={FIRST}&id={FIRST}&id={FIRST}"),
            StatusCode::BAD_REQUEST,
            "not 3",
        ),
        (
            format!("?a={FIRST}&b=%3Cscript%3E"),
            StatusCode::BAD_REQUEST,
            "&lt;script&gt;: a trace ID",
        ),
        (
            format!("?a={FIRST}&b={SECOND}"),
            StatusCode::NOT_FOUND,
            "is not stored",
        ),
    ] {
        let (found, page) = server.text(&format!("/compare{query}")).await;
        assert_eq!(found, status, "{query}");
        assert!(page.contains(expected), "{query}: {page}");
        assert!(
            page.contains("name=\"b\"") && !page.contains("<script>"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn listed_traces_can_be_selected() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    insert(&store, a_to_b(2, START, 100, false));
    let page = page_of(&store, "/").await;
    assert!(page.contains("<form id=\"compare\" action=\"./compare\">"));
    assert!(page.contains(&format!("form=\"compare\" name=\"id\" value=\"{FIRST}\"")));
}
