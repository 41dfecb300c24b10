//! The pages, with ordinary and with hostile spans.

use opentelemetry_proto::tonic::trace::v1::{
    Status,
    span::{Event, Link},
};
use reqwest::{StatusCode, header};
use spoor_policy::{PolicyName, RuleName};
use spoor_traces::{KeepReason, TraceStore};

use super::{
    serve::Server,
    spans::{MS, a_to_b, batch, insert, insert_kept, span, text},
};

pub const START: u64 = 1_700_000_000_000;
pub const TRACE: &str = "/trace/5b8efff7980381030000000000000001";

pub async fn page_of(store: &TraceStore, path: &str) -> String {
    let (status, page) = Server::start(store).await.text(path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    page
}

pub fn store() -> TraceStore {
    TraceStore::new(64 << 20)
}

#[tokio::test]
async fn trace_page_shows_spans_and_findings() {
    let store = store();
    let kept = KeepReason::Rule {
        policy: PolicyName::new("keep-errors").unwrap(),
        rule: RuleName::new("errors").unwrap(),
    };
    insert_kept(&store, a_to_b(1, START, 100, true), &kept);
    let page = page_of(&store, TRACE).await;
    for expected in [
        "<details>",
        "GET /",
        "heavy_calc",
        "The error began in",
        "Bottleneck: ",
        "162 ms of 290 ms (56 %)",
        "rule <b>errors</b> of policy <a href=\"../policies?policy=keep-errors\">keep-errors</a> matched",
        "exception.message",
        "calc.rounds</th><td><a href=\"../search?service=service%2Db&amp;tags=calc%2Erounds%3D%229007199254740993%22\">9007199254740993</a></td>",
        "class=\"minimap\"",
        "../trace/5b8efff798038103000000000000feed",
        "../trace/5b8efff7980381030000000000000001.json",
        "aria-level=\"4\"",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
}

/// Lesson 4 asks the learner for the origin.
#[tokio::test]
async fn origin_of_an_injected_error_is_hidden() {
    let store = store();
    let mut batches = a_to_b(1, START, 100, true);
    let spans = batches.iter_mut().flat_map(|it| &mut it.scope_spans);
    for span in spans.flat_map(|scope| &mut scope.spans) {
        span.events = vec![Event {
            name: "fault.injected".to_owned(),
            ..Event::default()
        }];
    }
    insert(&store, batches);
    let page = page_of(&store, TRACE).await;
    assert!(!page.contains("The error began in"));
    assert!(page.contains("The error was injected on purpose"));
}

#[tokio::test]
async fn failed_search_keeps_the_form() {
    let server = Server::start_unreachable().await;
    let (status, page) = server.text("/search?service=s&tags=a%3Db").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    for text in [
        "The search failed",
        "the store is unreachable",
        "value=\"a=b\"",
    ] {
        assert!(page.contains(text), "{text} is missing: {page}");
    }
    let (status, page) = server.text(TRACE).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("the store is unreachable"));
}

#[tokio::test]
async fn ids_are_validated_and_looked_up() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, true));
    let server = Server::start(&store).await;
    let (status, page) = server
        .text("/trace?id=5B8EFFF7980381030000000000000001")
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("heavy_calc"));
    let (status, page) = server.text("/trace/abc").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(page.contains("00000000000000000000000000000abc") && page.contains("not sampled"));
    for path in [
        "/trace/xyz",
        "/trace/%80",
        "/trace?id=",
        "/trace?id=%3Cscript%3E",
    ] {
        let (status, page) = server.text(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(page.contains("Invalid trace ID") && !page.contains("<script>"));
    }
    for path in ["/nothing", "/trace/1/2", "/%3Cscript%3E"] {
        let (status, page) = server.text(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(!page.contains("<script>"));
    }
}

#[tokio::test]
async fn markup_in_spans_stays_text() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;\u{202e}日本 😀";
    let store = store();
    let mut one = span(1, 1, 0, HOSTILE, START, START + 5);
    one.attributes = vec![text(HOSTILE, HOSTILE)];
    one.trace_state = HOSTILE.to_owned();
    one.status = Some(Status {
        message: HOSTILE.to_owned(),
        code: 2,
    });
    one.events = vec![Event {
        name: HOSTILE.to_owned(),
        attributes: vec![text(HOSTILE, HOSTILE)],
        time_unix_nano: START * MS,
        ..Event::default()
    }];
    insert(&store, vec![batch(HOSTILE, vec![one])]);
    insert(
        &store,
        vec![batch(HOSTILE, vec![span(2, 1, 0, "x", START, START + 5)])],
    );
    let by_service = "/search?service=%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [TRACE, "/", by_service] {
        let page = page_of(&store, path).await;
        assert!(
            !page.contains("<script>") && !page.contains("<img"),
            "{path}"
        );
        assert!(!page.contains("\"'>"), "{path}");
    }
    let page = page_of(&store, TRACE).await;
    assert!(page.contains("日本 😀"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    // In JSON it is data, and the content type prevents a browser from rendering it.
    let server = Server::start(&store).await;
    let response = server
        .get("/trace/5b8efff7980381030000000000000001.json")
        .await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let json: serde_json::Value = response.json().await.unwrap();
    let found = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(found["name"], HOSTILE);
}

#[tokio::test]
async fn inconsistent_spans_are_shown_with_notes() {
    let store = store();
    let spans = vec![
        span(1, 1, 2, "hen", START, START + 10),
        span(1, 2, 1, "egg", START + 1, START + 9),
        span(1, 3, 9, "orphan", START + 2, START + 2),
        span(1, 4, 3, "early", START + 1, START + 1),
        span(1, 5, 3, "backwards", START + 8, START + 3),
        span(1, 6, 0, "", START, START),
    ];
    insert(&store, vec![batch("service", spans)]);
    let page = page_of(&store, TRACE).await;
    for expected in [
        "It is its own ancestor",
        "Its parent <code>0000000000000009</code> is not in this trace",
        "timestamps were adjusted by",
        "Its reported end is before its start",
        "(no name)",
        "clock adjusted",
        "parent missing",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert_eq!(page.matches("<summary>").count(), 6);
}

#[tokio::test]
async fn ambiguous_ids_and_links_have_notes() {
    let store = store();
    let mut one = span(1, 1, 1, "own parent", START, START + 9);
    one.links = vec![Link::default()];
    let same_id = span(1, 1, 0, "same ID", START, START + 8);
    insert(&store, vec![batch("service", vec![one, same_id])]);
    let page = page_of(&store, TRACE).await;
    for expected in [
        "Duplicate span ID",
        "names itself as its parent",
        "A link without a trace ID",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("trace/00000000000000000000000000000000"));
}

#[tokio::test]
async fn links_lead_in_both_directions() {
    let store = store();
    let mut one = span(1, 1, 0, "sends", START, START + 9);
    let other = span(1, 2, 1, "receives", START + 2, START + 20);
    one.links = vec![Link {
        trace_id: other.trace_id.clone(),
        span_id: other.span_id.clone(),
        ..Link::default()
    }];
    insert(&store, vec![batch("service", vec![one, other])]);
    let page = page_of(&store, TRACE).await;
    let (_, links) = page.split_once("<h2>Links</h2>").unwrap();
    let to = "../trace/5b8efff7980381030000000000000001#span-0000000000000002";
    assert!(links.contains(to), "{links}");
    let (_, linked) = links.split_once("<h2>Linked from</h2>").unwrap();
    assert!(
        linked.contains("href=\"#span-0000000000000001\""),
        "{linked}"
    );
    assert!(page.contains("It ends 11 ms after its parent"), "{page}");
}

#[tokio::test]
async fn failed_span_keeps_its_services_colour() {
    let store = store();
    insert(&store, a_to_b(1, START, 100, true));
    let page = page_of(&store, TRACE).await;
    let (_, legend) = page.split_once("class=\"dot ").unwrap();
    let (colour, _) = legend.split_once('"').unwrap();
    assert!(
        page.contains(&format!("<rect class=\"span {colour}\"")),
        "{colour}"
    );
    assert!(page.contains("<tspan class=\"cross\">"));
}

#[tokio::test]
async fn too_large_trace_is_named() {
    let store = TraceStore::new(64 << 20);
    let big = "x".repeat(2 << 20);
    for id in 1..=9 {
        let mut one = span(1, id, 0, "big", START, START + 1);
        one.attributes = vec![text("blob", &big)];
        insert(&store, vec![batch("s", vec![one])]);
    }
    let page = page_of(&store, "/search?service=s").await;
    assert!(page.contains("1 trace too large to be shown, such as"));
    let (status, page) = Server::start(&store).await.text(TRACE).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(page.contains("is too large"));
}

#[tokio::test]
async fn a_trace_without_duration_is_drawn() {
    let store = store();
    insert(
        &store,
        vec![batch(
            "service",
            vec![span(1, 1, 0, "instant", START, START)],
        )],
    );
    insert(
        &store,
        vec![batch(
            "service",
            vec![span(2, 1, 0, "instant", START, START)],
        )],
    );
    let page = page_of(&store, TRACE).await;
    assert!(!page.contains("NaN") && !page.contains("inf%"));
    let list = page_of(&store, "/").await;
    assert!(!list.contains("NaN") && !list.contains("inf%"));
}

#[tokio::test]
async fn rows_name_the_method_and_the_service() {
    let store = store();
    let name = "spoor.marketplace.v1.Marketplace/Search";
    let spans = vec![span(1, 1, 0, name, START, START + 5)];
    insert(&store, vec![batch("marketplace-attic", spans)]);
    let page = page_of(&store, TRACE).await;
    let (_, row) = page.split_once("class=\"label\"").unwrap();
    for expected in [
        "title=\"spoor.marketplace.v1.Marketplace/Search · marketplace-attic\"",
        "<span class=\"start\">Marketplace</span><span class=\"end\">/Search</span>",
        "<span class=\"service\">marketplace-attic</span>",
    ] {
        assert!(row.contains(expected), "{expected}: {row}");
    }
}

#[tokio::test]
async fn long_names_and_values_are_cut() {
    let store = store();
    let long = "n".repeat(10_000);
    let mut one = span(1, 1, 0, &long, START, START + 5);
    one.attributes = vec![text(&long, &"v".repeat(100_000))];
    one.attributes
        .extend((0..300).map(|number| text(&format!("other-{number:03}"), "x")));
    insert(&store, vec![batch(&"s".repeat(1_000), vec![one])]);
    for path in [TRACE, "/"] {
        let page = page_of(&store, path).await;
        assert!(page.len() < 70_000, "{path}: {}", page.len());
    }
    let page = page_of(&store, TRACE).await;
    assert!(page.contains("99,000 more bytes") && page.contains("201 more are not shown"));
}

#[tokio::test]
async fn large_trace_is_split_into_pages() {
    let store = store();
    let spans =
        (1..=2_500).map(|id| span(1, id, u64::from(id > 1), "work", START + id, START + 3_000));
    insert(&store, vec![batch("service", spans.collect())]);
    let all = format!("{TRACE}?all=show");
    let first = page_of(&store, &all).await;
    assert_eq!(first.matches("<summary>").count(), 1_000);
    assert!(first.contains("Spans 1–1,000 of 2,500"));
    assert!(first.contains("?all=show&amp;from=1000"));
    let last = page_of(&store, &format!("{all}&from=2000")).await;
    assert_eq!(last.matches("<summary>").count(), 500);
    let beyond = page_of(&store, &format!("{all}&from=99999")).await;
    assert!(beyond.contains("Spans 1–1,000"));
}

#[tokio::test]
async fn large_page_omits_details() {
    let store = store();
    let large = |id| {
        let mut one = span(1, id, 0, "large", START + id, START + 900);
        let value = "v".repeat(900);
        one.attributes = (0..60)
            .map(|number| text(&format!("key-{number}"), &value))
            .collect();
        one
    };
    insert(
        &store,
        vec![batch("service", (1..=300).map(large).collect())],
    );
    let page = page_of(&store, &format!("{TRACE}?all=show")).await;
    assert!(page.len() < 6 << 20);
    assert_eq!(page.matches("<summary>").count(), 300);
    assert!(page.contains("The details of the remaining spans are not shown"));
}
