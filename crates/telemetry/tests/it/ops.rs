use axum::{Router, routing::get};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::fake::{DEADLINE, telemetry};

#[tokio::test]
async fn metrics_cover_requests_spans_and_the_process() {
    let (telemetry, _fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let edge = telemetry.http_server(
        Router::new()
            .route("/wishes/{id}", get(|| async { "a wish" }))
            .route("/broken", get(|| async { StatusCode::BAD_GATEWAY })),
    );
    let edge = crate::serve::http(edge, &stop).await;
    for path in ["/wishes/1", "/wishes/2", "/broken", "/nowhere"] {
        reqwest::get(format!("http://{edge}{path}")).await.unwrap();
    }
    let ops = crate::serve::http(telemetry.ops(), &stop).await;
    let response = reqwest::get(format!("http://{ops}/metrics")).await.unwrap();
    assert!(
        response.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = response.text().await.unwrap();
    let plain = reqwest::Client::new()
        .get(format!("http://{ops}/metrics"))
        .header("accept", "text/plain");
    let plain = plain.send().await.unwrap();
    assert_eq!(
        plain.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let plain = plain.text().await.unwrap();
    assert!(
        plain.contains("# TYPE spoor_spans_exported_total counter") && !plain.contains("trace_id"),
        "{plain}"
    );
    for line in [
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/wishes/{id}",http_response_status_code="200"} 2"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/broken",http_response_status_code="502",error_type="502"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404"} 1"#,
        "spoor_sampler_decisions_total 4",
        "spoor_sampler_sampled_total 4",
        "spoor_spans_exported_total 0",
        r#"spoor_spans_dropped_total{reason="QueueFull"} 0"#,
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_start_time_seconds ",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|it| it.starts_with(line)),
            "no {line} in\n{text}"
        );
    }
    stop.cancel();
}

/// The metrics after one request, as text, and the ID of that request's trace.
async fn after_a_request(sampler: &'static str) -> (String, String) {
    let (telemetry, _fake) = telemetry(&[("OTEL_TRACES_SAMPLER", sampler)]);
    let stop = CancellationToken::new();
    let edge = Router::new().route("/wishes/{id}", get(|| async { "a wish" }));
    let edge = crate::serve::http(telemetry.http_server(edge), &stop).await;
    let response = reqwest::get(format!("http://{edge}/wishes/1"))
        .await
        .unwrap();
    let trace = response.headers()["x-trace-id"]
        .to_str()
        .unwrap()
        .to_owned();
    stop.cancel();
    (telemetry.metrics().text().unwrap(), trace)
}

#[tokio::test]
async fn bucket_has_its_last_sampled_trace() {
    let (text, trace) = after_a_request("always_on").await;
    let exemplars: Vec<_> = text.lines().filter_map(|it| it.split_once(" # ")).collect();
    let [(bucket, exemplar)] = exemplars[..] else {
        panic!("expected exactly one exemplar in\n{text}")
    };
    assert!(
        bucket.starts_with("http_server_request_duration_seconds_bucket{")
            && bucket.contains(r#"http_route="/wishes/{id}""#),
        "{bucket}"
    );
    let ids = format!(r#"{{trace_id="{trace}",span_id=""#);
    assert!(exemplar.starts_with(&ids), "{exemplar}, not {ids}");
}

#[tokio::test]
async fn unsampled_request_leaves_no_exemplar() {
    let (text, _) = after_a_request("always_off").await;
    assert!(
        text.contains("http_server_request_duration_seconds_count{"),
        "{text}"
    );
    assert!(!text.contains("trace_id"), "{text}");
}

#[tokio::test]
async fn ready_only_between_start_and_shutdown() {
    let (telemetry, _fake) = telemetry(&[]);
    let stop = CancellationToken::new();
    let ops = crate::serve::http(telemetry.ops(), &stop).await;
    let status = |path: &'static str| async move {
        reqwest::get(format!("http://{ops}{path}"))
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(
        (status("/healthz").await, status("/readyz").await),
        (200, 503)
    );
    telemetry.set_ready(true);
    assert_eq!(status("/readyz").await, 200);
    telemetry.shutdown(DEADLINE).await;
    assert_eq!(
        (status("/healthz").await, status("/readyz").await),
        (200, 503)
    );
    stop.cancel();
}
