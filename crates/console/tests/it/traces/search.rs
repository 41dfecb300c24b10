//! The search and its results.

use opentelemetry_proto::tonic::trace::v1::Status;
use reqwest::StatusCode;

use super::{
    pages::{START, TRACE, page_of, store},
    serve::Server,
    spans::{MS, a_to_b, batch, insert, span},
};

#[tokio::test]
async fn search_lists_matching_traces() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, true));
    insert(&store, a_to_b(2, START + 1_000, 100, false));
    let all = page_of(&store, "/").await;
    assert!(all.contains("2 traces"));
    assert_eq!(all.matches("<circle").count(), 2);
    assert!(all.contains("4 errors"));
    let failed = page_of(&store, "/search?service=service-b&tags=error%3Dtrue").await;
    assert!(failed.contains("1 trace<"));
    assert!(failed.contains("<option value=\"service-b\" selected>"));
    let longest = page_of(&store, "/search?sort=longest&limit=50&lookback=").await;
    assert!(longest.contains("2 traces"));
}

#[tokio::test]
async fn health_checks_are_hidden_by_default() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    for (trace, name, fails) in [
        (2, "GET /healthz", false),
        (3, "GET /app.js", false),
        (4, "GET /readyz", true),
    ] {
        let mut one = span(trace, 1, 0, name, START, START + 1);
        one.status = Some(Status {
            message: String::new(),
            code: if fails { 2 } else { 0 },
        });
        insert(&store, vec![batch("edge", vec![one])]);
    }
    let page = page_of(&store, "/").await;
    assert!(page.contains("2 traces<") && page.contains("/readyz"));
    assert!(page.contains("2 requests for static files and health checks are hidden"));
    assert!(!page.contains("/healthz"));
    let all = page_of(&store, "/search?hidden=show").await;
    assert!(all.contains("4 traces<") && all.contains("/healthz"));
    let by_name = page_of(&store, "/search?service=edge&operation=GET+%2Fhealthz").await;
    assert!(by_name.contains("1 trace<"));
}

#[tokio::test]
async fn new_rows_follow_the_newest() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    insert(&store, a_to_b(2, START + 100_000, 100, false));
    let after = (START + 100_000) * MS;
    let rows = page_of(&store, &format!("/search/rows?after={after}")).await;
    assert!(rows.starts_with("<li class=\"result\""), "{rows}");
    assert_eq!(rows.matches("<li").count(), 1);
    assert!(rows.contains("href=\"./trace/5b8efff7980381030000000000000002\""));
    let (status, _) = Server::start(&store)
        .await
        .text("/search/rows?minDuration=soon")
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn empty_pages_have_advice() {
    let store = store();
    let page = page_of(&store, "/").await;
    assert!(page.contains("No traces yet") && page.contains("spoor load"));
    insert(&store, a_to_b(1, START, 100, true));
    let page = page_of(&store, "/search?service=none&lookback=5m").await;
    assert!(page.contains("No trace matches") && page.contains("Look further back"));
}

#[tokio::test]
async fn invalid_field_is_kept_and_explained() {
    let server = Server::start(&store()).await;
    let path = "/search?minDuration=soon&tags=%22%3E%3Cscript%3E";
    let (status, page) = server.text(path).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(page.contains("value=\"soon\"") && page.contains("aria-invalid=\"true\""));
    assert!(page.contains("id=\"minDuration-problem\""));
    assert!(!page.contains("<script>"));
}

#[tokio::test]
async fn hidden_characters_in_fields_are_shown() {
    let server = Server::start(&store()).await;
    let path = "/search?service=s%00&operation=o%1B&tags=a%3D%E2%80%AEb&minDuration=%00";
    let (_, page) = server.text(path).await;
    assert!(!page.contains(['\0', '\u{1b}', '\u{202e}']));
    for shown in ["s␀", "o␛", "a=\\u{202e}b", "value=\"␀\""] {
        assert!(page.contains(shown), "{shown} is missing");
    }
}

#[tokio::test]
async fn long_list_of_operations_is_cut() {
    let store = store();
    let spans = (1..=600).map(|id| span(1, id, 0, &format!("op {id}"), START, START + 1));
    insert(&store, vec![batch("s", spans.collect())]);
    let page = page_of(&store, "/search?service=s").await;
    let listed = page.split_once("<datalist").unwrap().1;
    let listed = listed.split_once("</datalist>").unwrap().0;
    assert_eq!(listed.matches("<option").count(), 500);
}

#[tokio::test]
async fn long_list_of_services_is_shortened() {
    let store = store();
    let batches = (1..=10).map(|id| {
        let parent = u64::from(id > 1);
        let span = span(1, id, parent, &"n".repeat(200), START + id, START + 20);
        batch(&format!("service-{id}"), vec![span])
    });
    insert(&store, batches.collect());
    let page = page_of(&store, "/").await;
    assert_eq!(page.matches("class=\"dot").count(), 8, "{page}");
    assert!(page.contains("and 2 more"), "{page}");
    let operation = format!("<strong>{}… (40 more bytes)</strong>", "n".repeat(160));
    assert!(page.contains(&operation), "{page}");
}

#[tokio::test]
async fn tag_link_finds_the_trace() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, false));
    insert(&store, a_to_b(2, START, 100, true));
    let page = page_of(&store, TRACE).await;
    let (before, _) = page.split_once("\">200</a>").unwrap();
    let (_, link) = before.rsplit_once("href=\"..").unwrap();
    let found = page_of(&store, &link.replace("&amp;", "&")).await;
    assert!(found.contains("1 trace<"), "{link}");
}
