use reqwest::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use spoor_traces::TraceStore;

use crate::{
    serve::Server,
    spans::{a_to_b, batch, insert, span},
};

/// 2023-11-14 22:13:20 UTC, in milliseconds.
const START: u64 = 1_700_000_000_000;
/// The same in microseconds, as clients send it, and an hour later.
const WINDOW: [(&str, &str); 2] = [("start", "1700000000000000"), ("end", "1700003600000000")];

/// Three traces: quick, slow and failed, a second apart.
async fn server() -> Server {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(1, START, 0, false));
    insert(&store, a_to_b(2, START + 1_000, 400, false));
    insert(&store, a_to_b(3, START + 2_000, 100, true));
    Server::start(&store).await
}

/// The last digit of each trace found.
async fn found(server: &Server, parameters: &[(&str, &str)]) -> String {
    let parameters = [&WINDOW[..], &[("service", "service-a")], parameters].concat();
    let (status, response) = server.query("/api/traces", &parameters).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    let traces = response["data"].as_array().unwrap();
    traces
        .iter()
        .map(|trace| trace["traceID"].as_str().unwrap().chars().last().unwrap())
        .collect()
}

#[tokio::test]
async fn a_trace_is_as_jaeger_writes_it() {
    let server = server().await;
    let (status, body) = server
        .text("/api/traces/5b8efff7980381030000000000000003?prettyPrint=true")
        .await;
    assert_eq!(status, StatusCode::OK);
    insta::assert_snapshot!(body);
}

#[rstest]
#[case::all(&[], "321")]
#[case::operation(&[("operation", "GET /")], "321")]
#[case::operation_of_another_service(&[("operation", "heavy_calc")], "")]
#[case::limit(&[("limit", "2")], "32")]
#[case::tag(&[("tag", "http.response.status_code:500")], "3")]
#[case::tag_with_colon(&[("tag", "http.route:/:x")], "")]
#[case::two_tags(&[("tag", "http.route:/"), ("tag", "error:true")], "3")]
#[case::tags(&[("tags", r#"{"http.response.status_code":"200","http.route":"/"}"#)], "21")]
#[case::error(&[("tags", r#"{"error":"true"}"#)], "3")]
#[case::kind(&[("tags", r#"{"span.kind":"client"}"#)], "321")]
#[case::status_error(&[("tags", r#"{"otel.status_code":"ERROR"}"#)], "3")]
#[case::status_ok(&[("tags", r#"{"otel.status_code":"OK"}"#)], "")]
#[case::scope(&[("tags", r#"{"otel.scope.name":"spoor-telemetry"}"#)], "321")]
#[case::scope_version(&[("tag", "otel.scope.version:0.1.0")], "321")]
#[case::other_scope(&[("tags", r#"{"otel.scope.name":"other"}"#)], "")]
#[case::resource(&[("tags", r#"{"service.namespace":"demo"}"#)], "321")]
#[case::min(&[("minDuration", "250ms")], "32")]
#[case::max(&[("maxDuration", "0.25s")], "1")]
#[case::between(&[("minDuration", "200ms"), ("maxDuration", "300ms")], "3")]
#[case::zero_durations(&[("minDuration", "0"), ("maxDuration", "0s")], "321")]
#[case::empty_values(&[("operation", ""), ("minDuration", ""), ("limit", ""), ("tags", "")], "321")]
#[case::lookback_beside_start(&[("lookback", "1h")], "321")]
#[case::raw(&[("raw", "true")], "321")]
#[tokio::test]
async fn each_parameter_narrows_the_search(
    #[case] parameters: &[(&str, &str)],
    #[case] expected: &str,
) {
    assert_eq!(found(&server().await, parameters).await, expected);
}

/// A child that starts an hour before its parent is moved and has a warning, except in raw traces.
#[rstest]
#[case::corrected("false", 1_700_000_000_025_000, 1)]
#[case::raw("true", 1_699_996_400_000_000, 0)]
#[tokio::test]
async fn clock_skew_is_corrected(#[case] raw: &str, #[case] start: u64, #[case] warnings: usize) {
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
    let path = "/api/traces/5b8efff7980381030000000000000001";
    let (_, response) = server.query(path, &[("raw", raw)]).await;
    let spans = response["data"][0]["spans"].as_array().unwrap();
    let child = spans
        .iter()
        .find(|span| span["operationName"] == "server")
        .unwrap();
    assert_eq!(child["startTime"], start);
    assert_eq!(child["warnings"].as_array().map_or(0, Vec::len), warnings);
    assert!(!child["tags"].to_string().contains("@jaeger@warnings"));
}

#[tokio::test]
async fn the_window_is_in_microseconds() {
    let server = server().await;
    let window = [
        ("service", "service-a"),
        ("start", "1700000000500000"),
        ("end", "1700000001500000"),
    ];
    let (_, response) = server.query("/api/traces", &window).await;
    assert_eq!(response["data"].as_array().unwrap().len(), 1);
    // Without a window: the last two days.
    let (status, response) = server
        .query("/api/traces", &[("service", "service-a")])
        .await;
    assert_eq!((status, &response["data"]), (StatusCode::OK, &json!([])));
    assert_eq!(response["errors"], Value::Null);
    // With only a lookback: from the end.
    let lookback = [
        ("service", "service-a"),
        ("end", "1700000002500000"),
        ("lookback", "2s"),
    ];
    let (_, response) = server.query("/api/traces", &lookback).await;
    assert_eq!(response["data"].as_array().unwrap().len(), 2);
}

#[rstest]
#[case::service("/api/traces", &[], "parameter 'service' is required")]
#[case::operations_service("/api/operations", &[], "parameter 'service' is required")]
#[case::start("/api/traces", &[("start", "now")], "unable to parse param 'start': strconv.ParseInt: parsing \"now\": invalid syntax")]
#[case::end("/api/traces", &[("end", "1.5")], "unable to parse param 'end': strconv.ParseInt: parsing \"1.5\": invalid syntax")]
#[case::limit("/api/traces", &[("limit", "many")], "unable to parse param 'limit': strconv.ParseInt: parsing \"many\": invalid syntax")]
#[case::no_limit("/api/traces", &[("limit", "0")], "unable to parse param 'limit': must be between 1 and 20000")]
#[case::min("/api/traces", &[("minDuration", "5")], "unable to parse param 'minDuration': time: missing unit in duration \"5\"")]
#[case::max("/api/traces", &[("maxDuration", "soon")], "unable to parse param 'maxDuration': time: invalid duration \"soon\"")]
#[case::max_below_min("/api/traces", &[("service", "x"), ("minDuration", "2s"), ("maxDuration", "1s")], "'maxDuration' should be greater than 'minDuration'")]
#[case::tag("/api/traces", &[("tag", "x")], "malformed 'tag' parameter, expecting key:value, received: x")]
#[case::raw("/api/traces", &[("raw", "maybe")], "unable to parse param 'raw': strconv.ParseBool: parsing \"maybe\": invalid syntax")]
#[case::lookback("/api/traces", &[("lookback", "soon")], "unable to parse param 'lookback': time: invalid duration \"soon\"")]
#[case::id("/api/traces", &[("traceID", "xyz")], "cannot parse traceID param \"xyz\": a trace ID must be 1 to 32 hexadecimal digits and not all zero")]
#[case::path_id("/api/traces/chumbawumba", &[], "cannot parse trace ID \"chumbawumba\": a trace ID must be 1 to 32 hexadecimal digits and not all zero")]
#[case::trace_start("/api/traces/1", &[("start", "a")], "unable to parse param 'start': strconv.ParseInt: parsing \"a\": invalid syntax")]
#[case::trace_raw("/api/traces/1", &[("raw", "a")], "unable to parse param 'raw': strconv.ParseBool: parsing \"a\": invalid syntax")]
#[case::end_ts("/api/dependencies", &[("endTs", "x")], "unable to parse param 'endTs': strconv.ParseInt: parsing \"x\": invalid syntax")]
#[case::dependency_lookback("/api/dependencies", &[("lookback", "1h")], "unable to parse param 'lookback': strconv.ParseInt: parsing \"1h\": invalid syntax")]
#[tokio::test]
async fn a_bad_parameter_is_named(
    #[case] path: &str,
    #[case] parameters: &[(&str, &str)],
    #[case] message: &str,
) {
    let (status, response) = server().await.query(path, parameters).await;
    let expected = json!({
        "data": null, "total": 0, "limit": 0, "offset": 0,
        "errors": [{"code": 400, "msg": message}],
    });
    assert_eq!((status, response), (StatusCode::BAD_REQUEST, expected));
}

#[tokio::test]
async fn bad_json_in_tags_is_refused() {
    let server = server().await;
    for tags in ["{", "[]", r#"{"a":1}"#] {
        let (status, response) = server.query("/api/traces", &[("tags", tags)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let message = response["errors"][0]["msg"].as_str().unwrap();
        assert!(message.starts_with("malformed 'tags' parameter, cannot unmarshal JSON: "));
    }
}

#[tokio::test]
async fn missing_trace_ids_are_reported() {
    let server = server().await;
    let ids = [
        ("traceID", "5b8efff7980381030000000000000001"),
        ("traceID", "abc"),
    ];
    let (status, response) = server.query("/api/traces", &ids).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(response["data"].as_array().unwrap().len(), 1);
    let missing = json!([{
        "msg": "trace not found", "traceID": "00000000000000000000000000000abc",
    }]);
    assert_eq!(response["errors"], missing);
}

#[tokio::test]
async fn short_and_upper_case_ids_are_found() {
    let store = TraceStore::new(1 << 20);
    let mut spans = vec![span(1, 1, 0, "short", START, START + 1)];
    spans[0].trace_id = 0xabc_u128.to_be_bytes().to_vec();
    insert(&store, vec![batch("s", spans)]);
    let server = Server::start(&store).await;
    for id in ["abc", "ABC", "0000000000000abc"] {
        let (status, response) = server.query(&format!("/api/traces/{id}"), &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            response["data"][0]["traceID"],
            "00000000000000000000000000000abc"
        );
    }
}

#[tokio::test]
async fn unknown_trace_is_404_with_its_id() {
    let (status, response) = server().await.query("/api/traces/abc", &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let errors = json!([{
        "code": 404, "msg": "trace not found", "traceID": "00000000000000000000000000000abc",
    }]);
    assert_eq!(
        (&response["data"], &response["errors"]),
        (&Value::Null, &errors)
    );
}

#[tokio::test]
async fn services_and_operations_are_listed() {
    let server = server().await;
    let (_, services) = server.query("/api/services", &[]).await;
    let expected = json!({
        "data": ["service-a", "service-b"], "total": 2, "limit": 0, "offset": 0, "errors": null,
    });
    assert_eq!(services, expected);

    let (_, names) = server
        .query("/api/services/service-b/operations", &[])
        .await;
    let expected = json!(["heavy_calc", "spoor.ab.v1.ServiceB/Work", "wait"]);
    assert_eq!((&names["data"], &names["total"]), (&expected, &json!(3)));

    let servers = [("service", "service-a"), ("spanKind", "server")];
    let (_, operations) = server.query("/api/operations", &servers).await;
    let expected = json!([{"name": "GET /", "spanKind": "server"}]);
    assert_eq!(operations["data"], expected);

    let unknown = [("service", "service-a"), ("spanKind", "sever")];
    let (status, operations) = server.query("/api/operations", &unknown).await;
    assert_eq!((status, &operations["data"]), (StatusCode::OK, &json!([])));
    let (status, names) = server.query("/api/services/none/operations", &[]).await;
    assert_eq!((status, &names["data"]), (StatusCode::OK, &json!([])));
}

#[tokio::test]
async fn a_service_named_like_a_path_is_found() {
    let store = TraceStore::new(1 << 20);
    let spans = vec![span(1, 1, 0, "work", START, START + 1)];
    insert(&store, vec![batch("shop/käse & co", spans)]);
    let server = Server::start(&store).await;
    let path = "/api/services/shop%2Fk%C3%A4se%20%26%20co/operations";
    let (_, names) = server.query(path, &[]).await;
    assert_eq!(names["data"], json!(["work"]));
}

#[tokio::test]
async fn spans_without_a_service_are_found() {
    let store = TraceStore::new(1 << 20);
    let mut nameless = batch("", vec![span(1, 1, 0, "work", START, START + 1)]);
    nameless.resource = None;
    insert(&store, vec![nameless]);
    let server = Server::start(&store).await;
    let (_, services) = server.query("/api/services", &[]).await;
    assert_eq!(services["data"], json!(["missing-service-name"]));
    let (_, names) = server
        .query("/api/services/missing-service-name/operations", &[])
        .await;
    assert_eq!(names["data"], json!(["work"]));
    let search = [&WINDOW[..], &[("service", "missing-service-name")]].concat();
    let (_, response) = server.query("/api/traces", &search).await;
    let process = &response["data"][0]["processes"]["p1"];
    assert_eq!(process["serviceName"], "missing-service-name");
}

#[tokio::test]
async fn dependencies_count_calls_between_services() {
    let server = server().await;
    let window = [("endTs", "1700000003000"), ("lookback", "3600000")];
    let (_, response) = server.query("/api/dependencies", &window).await;
    let links = json!([
        {"parent": "service-a", "child": "service-a", "callCount": 3},
        {"parent": "service-a", "child": "service-b", "callCount": 3},
        {"parent": "service-b", "child": "service-b", "callCount": 6},
    ]);
    assert_eq!(response["data"], links);

    let earlier = [("endTs", "1700000000500"), ("lookback", "3600000")];
    let (_, response) = server.query("/api/dependencies", &earlier).await;
    assert_eq!(response["data"][0]["callCount"], 1);

    let other = [&window[..], &[("service", "none")]].concat();
    let (_, response) = server.query("/api/dependencies", &other).await;
    assert_eq!(response["data"], json!([]));
}

#[tokio::test]
async fn empty_store_returns_empty_lists() {
    let server = Server::start(&TraceStore::new(1 << 20)).await;
    for path in [
        "/api/services",
        "/api/dependencies",
        "/api/traces?service=x",
    ] {
        let (status, response) = server.query(path, &[]).await;
        assert_eq!(
            (status, &response["data"]),
            (StatusCode::OK, &json!([])),
            "{path}"
        );
    }
}

#[tokio::test]
async fn unknown_paths_are_404_as_json() {
    let server = server().await;
    for path in ["/api", "/api/", "/api/nothing", "/api/traces/1/2"] {
        let (status, response) = server.query(path, &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response["errors"][0]["code"], 404);
    }
}
