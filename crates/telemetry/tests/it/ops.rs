use axum::{Router, routing::get};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::fake::{PATIENCE, telemetry};

#[tokio::test]
async fn metrics_count_requests_spans_decisions_and_the_process() {
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
    telemetry.shutdown(PATIENCE).await;
    assert_eq!(
        (status("/healthz").await, status("/readyz").await),
        (200, 503)
    );
    stop.cancel();
}
