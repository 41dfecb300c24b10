use opentelemetry_proto::tonic::trace::v1::{TracesData, span::Link};
use reqwest::StatusCode;
use rstest::rstest;
use serde_json::json;
use spoor_traces::{TraceStore, tree::Tree};

use crate::{
    serve::Server,
    spans::{a_to_b, batch, insert, span},
};

const START: u64 = 1_700_000_000_000;
const WINDOW: [(&str, &str); 2] = [
    ("query.start_time_min", "2023-11-14T22:13:20Z"),
    ("query.start_time_max", "2023-11-14T23:13:20.5+00:00"),
];

async fn server() -> Server {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    insert(&store, a_to_b(2, START + 1_000, 400, false));
    insert(&store, a_to_b(3, START + 2_000, 100, true));
    Server::start(&store).await
}

#[tokio::test]
async fn a_trace_is_in_otlp_json() {
    let (status, body) = server()
        .await
        .text("/api/v3/traces/5b8efff7980381030000000000000003?prettyPrint=true")
        .await;
    assert_eq!(status, StatusCode::OK);
    insta::assert_snapshot!(body);
}

#[tokio::test]
async fn response_can_be_read_as_otlp() {
    let server = server().await;
    let path = "/api/v3/traces/5b8efff7980381030000000000000003";
    let (_, mut response) = server.query(path, &[]).await;
    let data: TracesData = serde_json::from_value(response["result"].take()).unwrap();
    let expected = Tree::new(a_to_b(3, START + 2_000, 100, true));
    assert_eq!(Tree::new(data.resource_spans), expected);
}

#[tokio::test]
async fn clock_skew_is_corrected() {
    let store = TraceStore::new(16 << 20);
    let early = START - 3_600_000;
    insert(
        &store,
        vec![
            batch("client", vec![span(1, 1, 0, "client", START, START + 100)]),
            batch("server", vec![span(1, 2, 1, "server", early, early + 50)]),
        ],
    );
    let server = Server::start(&store).await;
    let path = "/api/v3/traces/5b8efff7980381030000000000000001";
    let (_, response) = server.query(path, &[]).await;
    let child = &response["result"]["resourceSpans"][1]["scopeSpans"][0]["spans"][0];
    assert_eq!(child["startTimeUnixNano"], "1700000000025000000");
    assert_eq!(child["attributes"][0]["key"], "@jaeger@warnings");
}

#[rstest]
#[case::window(&[], 3)]
#[case::service(&[("query.service_name", "service-b")], 3)]
#[case::camel_case(&[("query.serviceName", "service-c")], 0)]
#[case::operation(&[("query.operation_name", "heavy_calc")], 3)]
#[case::attributes(&[("query.attributes", r#"{"http.response.status_code":"500"}"#)], 1)]
#[case::min(&[("query.duration_min", "250ms"), ("query.service_name", "service-a")], 2)]
#[case::max(&[("query.durationMax", "250ms"), ("query.operation_name", "GET /")], 1)]
#[case::depth(&[("query.search_depth", "2")], 2)]
#[case::old_depth(&[("query.num_traces", "1")], 1)]
#[case::raw(&[("query.raw_traces", "true")], 3)]
#[tokio::test]
async fn each_parameter_narrows_the_search(
    #[case] parameters: &[(&str, &str)],
    #[case] traces: usize,
) {
    let server = server().await;
    let parameters = [&WINDOW[..], parameters].concat();
    let (status, response) = server.query("/api/v3/traces", &parameters).await;
    if traces == 0 {
        let none = json!({"error": {"httpCode": 404, "message": "No traces found"}});
        assert_eq!((status, response), (StatusCode::NOT_FOUND, none));
        return;
    }
    let batches = response["result"]["resourceSpans"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> = batches
        .iter()
        .map(|batch| {
            batch["scopeSpans"][0]["spans"][0]["traceId"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(ids.len(), traces);
}

#[rstest]
#[case::window(&[], "query.startTimeMin and query.startTimeMax are required")]
#[case::time(&[("query.start_time_min", "yesterday"), WINDOW[1]], "malformed parameter query.start_time_min: must be an RFC 3339 time")]
#[case::order(&[("query.startTimeMin", "2024-01-01T00:00:00Z"), WINDOW[1]], "query.startTimeMin must be before query.startTimeMax")]
#[case::depth(&[WINDOW[0], WINDOW[1], ("query.search_depth", "-1")], "malformed parameter query.search_depth: must be between 1 and 20000")]
#[case::duration(&[WINDOW[0], WINDOW[1], ("query.duration_min", "1")], "malformed parameter query.duration_min: time: missing unit")]
#[case::attributes(&[WINDOW[0], WINDOW[1], ("query.attributes", "x")], "malformed parameter query.attributes: ")]
#[case::filter(&[WINDOW[0], WINDOW[1], ("query.filter", r#"{"op":"exists"}"#)], "query.filter is not supported")]
#[case::raw(&[WINDOW[0], WINDOW[1], ("query.rawTraces", "x")], "malformed parameter query.rawTraces: ")]
#[tokio::test]
async fn a_bad_parameter_is_named(#[case] parameters: &[(&str, &str)], #[case] message: &str) {
    let server = server().await;
    for path in ["/api/v3/traces", "/api/v3/trace-summaries"] {
        let (status, response) = server.query(path, parameters).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(response["error"]["httpCode"], 400);
        let given = response["error"]["message"].as_str().unwrap();
        assert!(given.starts_with(message), "{given}");
    }
}

#[tokio::test]
async fn ids_are_validated_and_looked_up() {
    let server = server().await;
    let (status, response) = server.query("/api/v3/traces/xyz", &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("malformed parameter trace_id: "));
    let (status, response) = server.query("/api/v3/traces/abc", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(response["error"]["httpCode"], 404);
    let bad_time = [("start_time", "x")];
    let (status, _) = server.query("/api/v3/traces/abc", &bad_time).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn services_and_operations_have_no_envelope() {
    let server = server().await;
    let (_, services) = server.query("/api/v3/services", &[]).await;
    assert_eq!(services, json!({"services": ["service-a", "service-b"]}));
    let clients = [("service", "service-a"), ("span_kind", "client")];
    let (_, operations) = server.query("/api/v3/operations", &clients).await;
    let client = json!({"name": "spoor.ab.v1.ServiceB/Work", "spanKind": "client"});
    assert_eq!(operations, json!({"operations": [client]}));
}

#[tokio::test]
async fn summaries_have_counts_and_times() {
    let server = server().await;
    let failed = [&WINDOW[..], &[("query.attributes", r#"{"error":"true"}"#)]].concat();
    let (status, response) = server.query("/api/v3/trace-summaries", &failed).await;
    assert_eq!(status, StatusCode::OK);
    let expected = json!({"summaries": [{
        "traceId": "5b8efff7980381030000000000000003",
        "rootServiceName": "service-a",
        "rootOperationName": "GET /",
        "minStartTimeUnixNano": "1700000002000000000",
        "maxEndTimeUnixNano": "1700000002290000000",
        "spanCount": 5,
        "errorSpanCount": 4,
        "services": [
            {"name": "service-a", "spanCount": 2, "errorSpanCount": 2},
            {"name": "service-b", "spanCount": 3, "errorSpanCount": 2},
        ],
    }]});
    assert_eq!(response, expected);

    let none = [&WINDOW[..], &[("query.serviceName", "none")]].concat();
    let (status, response) = server.query("/api/v3/trace-summaries", &none).await;
    assert_eq!(
        (status, response),
        (StatusCode::OK, json!({"summaries": []}))
    );
}

#[tokio::test]
async fn summaries_count_spans_without_their_parent() {
    let store = TraceStore::new(16 << 20);
    let spans = vec![
        span(1, 1, 0, "root", START, START + 9),
        span(1, 2, 7, "orphan", START + 1, START + 2),
    ];
    insert(&store, vec![batch("s", spans)]);
    let server = Server::start(&store).await;
    let (_, response) = server.query("/api/v3/trace-summaries", &WINDOW).await;
    assert_eq!(response["summaries"][0]["orphanSpanCount"], 1);
}

#[tokio::test]
async fn dependencies_follow_protobuf_json() {
    let server = server().await;
    let window = [
        ("startTime", "2023-11-14T22:13:20Z"),
        ("end_time", "2023-11-14T23:13:20Z"),
    ];
    let (status, response) = server.query("/api/v3/dependencies", &window).await;
    assert_eq!(status, StatusCode::OK);
    let call = json!({"parent": "service-a", "child": "service-b", "callCount": "3"});
    assert!(response["dependencies"].as_array().unwrap().contains(&call));

    for (parameters, message) in [
        (&window[..1], "startTime and endTime are required"),
        (
            &[("startTime", "x"), window[1]][..],
            "malformed parameter startTime: ",
        ),
        (
            &[("startTime", "2030-01-01T00:00:00Z"), window[1]][..],
            "startTime must be before endTime",
        ),
    ] {
        let (status, response) = server.query("/api/v3/dependencies", parameters).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let given = response["error"]["message"].as_str().unwrap();
        assert!(given.starts_with(message), "{given}");
    }
}

#[rstest]
#[case::unknown("GET", "/api/v3/nothing", 404)]
#[case::bare("GET", "/api/v3", 404)]
#[case::method("POST", "/api/v3/services", 405)]
#[case::not_utf8("GET", "/api/v3/traces/%ff", 400)]
#[tokio::test]
async fn errors_have_the_v3_format(#[case] method: &str, #[case] path: &str, #[case] code: u16) {
    let server = server().await;
    let request = reqwest::Client::new().request(method.parse().unwrap(), server.url(path));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), code);
    let response: serde_json::Value = response.json().await.unwrap();
    assert_eq!(response["error"]["httpCode"], code);
}

/// A root, and a span without a service name, a duration or a stored parent.
fn inconsistent() -> TraceStore {
    let store = TraceStore::new(16 << 20);
    let mut lost = span(1, 2, 7, "lost", START + 1, START + 1);
    lost.links = vec![Link::default()];
    let mut nameless = batch("", vec![lost]);
    nameless.resource = None;
    let root = span(1, 1, 0, "root", START, START + 9);
    insert(&store, vec![batch("s", vec![root]), nameless]);
    store
}

#[tokio::test]
async fn inconsistent_spans_have_warnings() {
    let server = Server::start(&inconsistent()).await;
    let path = "/api/v3/traces/5b8efff7980381030000000000000001";
    let (_, response) = server.query(path, &[]).await;
    let batch = &response["result"]["resourceSpans"][1];
    let name = &batch["resource"]["attributes"][0]["value"]["stringValue"];
    assert_eq!(name, "missing-service-name");
    let span = &batch["scopeSpans"][0]["spans"][0];
    assert_eq!(span["links"], serde_json::Value::Null);
    let warnings = span["attributes"][0].to_string();
    assert!(warnings.contains("@jaeger@warnings"), "{warnings}");
    for expected in [
        "Zero duration",
        "Missing parent: span 0000000000000007",
        "Invalid link",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }

    let (_, response) = server.query(path, &[("rawTraces", "true")]).await;
    let batch = &response["result"]["resourceSpans"][1];
    assert_eq!(batch["resource"], json!({}));
    assert!(!batch.to_string().contains("@jaeger@warnings"));

    let path = path.replace("v3/", "");
    let (_, response) = server.query(&path, &[]).await;
    let span = &response["data"][0]["spans"][1];
    assert_eq!(span["warnings"].as_array().unwrap().len(), 3);
    assert_eq!(span["references"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn ambiguous_ids_have_a_warning() {
    let store = TraceStore::new(16 << 20);
    let spans = ["one", "other"].map(|name| span(1, 1, 1, name, START, START + 9));
    insert(&store, vec![batch("s", spans.to_vec())]);
    let server = Server::start(&store).await;
    let path = "/api/v3/traces/5b8efff7980381030000000000000001";
    let (_, response) = server.query(path, &[]).await;
    let spans = &response["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    for (at, expected) in [
        (0, vec!["Invalid parent"]),
        (1, vec!["Duplicate span ID", "Invalid parent"]),
    ] {
        let found = &spans[at]["attributes"][0]["value"]["arrayValue"]["values"];
        let found = found.as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            let found = found["stringValue"].as_str().unwrap();
            assert!(found.starts_with(expected), "{found}");
        }
    }
    let (_, raw) = server.query(path, &[("rawTraces", "true")]).await;
    assert!(!raw.to_string().contains("@jaeger@warnings"));
}

#[tokio::test]
async fn operations_without_a_service_are_empty() {
    let (status, response) = Server::start(&inconsistent())
        .await
        .query("/api/v3/operations", &[])
        .await;
    assert_eq!(
        (status, response),
        (StatusCode::OK, json!({"operations": []}))
    );
}
