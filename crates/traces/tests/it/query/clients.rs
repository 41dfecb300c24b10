//! The requests of programs that show traces, taken from their sources.

use reqwest::StatusCode;
use rstest::rstest;
use serde_json::Value;
use spoor_traces::TraceStore;

use crate::{
    serve::Server,
    spans::{a_to_b, insert},
};

const START: u64 = 1_700_000_000_000;

/// Jaeger UI at c321fb3 of August 2026, after 2.20: `src/api/v3/client.ts` and
/// `src/api/jaeger.ts`. Optional features that need another backend are left out: the monitor tab,
/// quality metrics, the archive and deep dependencies.
const JAEGER_UI: &[&str] = &[
    "/api/v3/services",
    "/api/v3/operations?service=service-a",
    "/api/v3/trace-summaries?query.serviceName=service-a&query.operationName=GET+%2F\
     &query.startTimeMin=2023-11-14T22%3A13%3A20.000Z&query.startTimeMax=2023-11-14T23%3A13%3A20.000Z\
     &query.searchDepth=20&query.durationMin=1ms&query.durationMax=10s\
     &query.attributes=%7B%22error%22%3A%22true%22%7D",
    "/api/v3/trace-summaries?query.startTimeMin=2023-11-14T22%3A13%3A20.000Z\
     &query.startTimeMax=2023-11-14T23%3A13%3A20.000Z&query.searchDepth=20",
    "/api/services",
    "/api/services/service-a/operations",
    "/api/operations?service=service-a&spanKind=server",
    "/api/traces/5b8efff7980381030000000000000003",
    "/api/dependencies?endTs=1700003600000&lookback=604800000",
];

/// Jaeger UI before 2.19, whose search uses version 1 of the API.
const OLDER_JAEGER_UI: &[&str] = &[
    "/api/traces?end=1700003600000000&limit=20&lookback=1h&maxDuration&minDuration\
     &service=service-a&start=1700000000000000",
    "/api/traces?end=1700003600000000&limit=20&lookback=1h&maxDuration=10s&minDuration=1ms\
     &operation=GET%20%2F&service=service-a&start=1700000000000000\
     &tags=%7B%22error%22%3A%22true%22%7D",
    "/api/traces?traceID=5b8efff7980381030000000000000003",
];

/// Grafana's `pkg/tsdb/jaeger`: `client.go` and `grpc_client.go`, which uses version 3 over
/// HTTP despite its name and does not encode times.
const GRAFANA: &[&str] = &[
    "/api/services",
    "/api/services/service-a/operations",
    "/api/traces?limit=20&maxDuration=10s&minDuration=1ms&operation=GET+%2F&service=service-a\
     &tags=%7B%22error%22%3A%22true%22%7D",
    "/api/traces/5b8efff7980381030000000000000003",
    "/api/traces/5b8efff7980381030000000000000003?end=1700003600000&start=1700000000000",
    "/api/dependencies?endTs=1700003600000&lookback=3600000",
    "/api/v3/services",
    "/api/v3/operations?service=service-a",
    "/api/v3/traces?query.service_name=service-a&query.attributes=%7B%22error%22%3A%22true%22%7D\
     &query.start_time_min=2023-11-14T22:13:20Z&query.start_time_max=2023-11-14T23:13:20.123Z",
    "/api/v3/traces?query.service_name=service-a\
     &query.start_time_min=2023-11-14T23:13:20+01:00&query.start_time_max=2023-11-15T00:13:20+01:00",
    "/api/v3/traces/5b8efff7980381030000000000000003\
     ?start_time=2023-11-14T22:13:20Z&end_time=2023-11-14T23:13:20.123Z",
];

/// Kiali's `tracing/jaeger/http_client.go`; over gRPC it uses version 2, whose tests send
/// its requests.
const KIALI: &[&str] = &[
    "/api/services",
    "/api/traces?end=1700003600000000&limit=100&service=service-a&start=1700000000000000\
     &tags=%7B%22istio.cluster_id%22%3A%22Kubernetes%22%7D",
    "/api/traces?end=1700003600000000&limit=100&minDuration=1000us&service=service-a\
     &start=1700000000000000",
    "/api/traces/5b8efff7980381030000000000000003",
];

#[rstest]
#[case::jaeger_ui(JAEGER_UI)]
#[case::older_jaeger_ui(OLDER_JAEGER_UI)]
#[case::grafana(GRAFANA)]
#[case::kiali(KIALI)]
#[tokio::test]
async fn every_request_succeeds(#[case] requests: &[&str]) {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(2, START + 1_000, 400, false));
    insert(&store, a_to_b(3, START + 2_000, 100, true));
    let server = Server::start(&store).await;
    for path in requests {
        let (status, body) = server.text(path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let response: Value = serde_json::from_str(&body).unwrap();
        assert!(response["errors"].is_null(), "{path}: {body}");
    }
}

/// As `src/api/v3/schemas.ts` of Jaeger UI checks them.
#[tokio::test]
async fn summaries_pass_jaeger_uis_checks() {
    let store = TraceStore::new(16 << 20);
    insert(&store, a_to_b(3, START, 100, true));
    let (_, response) = Server::start(&store).await.query(JAEGER_UI[3], &[]).await;
    let summary = &response["summaries"][0];
    let id = summary["traceId"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    for time in ["minStartTimeUnixNano", "maxEndTimeUnixNano"] {
        assert!(summary[time].as_str().unwrap().parse::<u64>().is_ok());
    }
    for count in ["spanCount", "errorSpanCount"] {
        assert!(summary[count].is_u64());
    }
    assert!(summary["services"][0]["name"].is_string());
}
