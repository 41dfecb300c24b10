//! Jaeger's remote sampling over HTTP.

use insta::assert_snapshot;
use reqwest::{Method, StatusCode};
use rstest::rstest;
use spoor_control::{Control, ControlSettings};

use crate::support::{TestServer, limit, percent, policy, resolved};

async fn get(server: &TestServer, path: &str) -> (StatusCode, String, String) {
    let response = reqwest::get(format!("{}{path}", server.http))
        .await
        .unwrap();
    let content_type = response.headers()["content-type"].to_str().unwrap();
    let (status, content_type) = (response.status(), content_type.to_owned());
    (status, content_type, response.text().await.unwrap())
}

async fn get_strategy(server: &TestServer, path: &str) -> String {
    let (status, content_type, body) = get(server, path).await;
    assert_eq!(
        (status, content_type.as_str()),
        (StatusCode::OK, "application/json")
    );
    body
}

#[tokio::test]
async fn probability_is_written_in_both_fields() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("1%"))]).await;
    assert_snapshot!(get_strategy(&server, "/sampling?service=a").await, @r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.01},"operationSampling":{"defaultSamplingProbability":0.01,"defaultLowerBoundTracesPerSecond":0.0,"perOperationStrategies":[],"defaultUpperBoundTracesPerSecond":0.0}}"#);
}

#[tokio::test]
async fn operations_have_their_own_probability() {
    let policies = [
        policy("one", &[("a", &["GET /", "GET /x"])], percent("0.1%")),
        policy("limit", &[("a", &["GET /limited"])], limit(3)),
        policy("all", &[], percent("50%")),
    ];
    let server = TestServer::with(&policies).await;
    assert_snapshot!(get_strategy(&server, "/?service=a").await, @r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.5},"operationSampling":{"defaultSamplingProbability":0.5,"defaultLowerBoundTracesPerSecond":0.0,"perOperationStrategies":[{"operation":"GET /","probabilisticSampling":{"samplingRate":0.001}},{"operation":"GET /x","probabilisticSampling":{"samplingRate":0.001}}],"defaultUpperBoundTracesPerSecond":0.0}}"#);
    assert_snapshot!(get_strategy(&server, "/sampling?service=b").await, @r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":0.5},"operationSampling":{"defaultSamplingProbability":0.5,"defaultLowerBoundTracesPerSecond":0.0,"perOperationStrategies":[],"defaultUpperBoundTracesPerSecond":0.0}}"#);
}

#[tokio::test]
async fn rate_limit_is_sent_as_a_whole_share() {
    let policies = [
        policy("limit", &[("a", &[])], limit(3)),
        policy("one", &[("a", &["GET /"])], percent("1%")),
    ];
    let server = TestServer::with(&policies).await;
    let http = reqwest::Client::new();
    let poll = async || {
        let request = http.get(format!("{}/sampling?service=a", server.http));
        request.send().await.unwrap().text().await.unwrap()
    };
    assert_snapshot!(poll().await, @r#"{"strategyType":"RATE_LIMITING","rateLimitingSampling":{"maxTracesPerSecond":3}}"#);
    let mut client = server.client("a", "1").await;
    client.plan().await;
    assert_snapshot!(poll().await, @r#"{"strategyType":"RATE_LIMITING","rateLimitingSampling":{"maxTracesPerSecond":2}}"#);
}

#[tokio::test]
async fn polling_default_samples_all() {
    let server = TestServer::with(&[]).await;
    assert_snapshot!(get_strategy(&server, "/sampling?service=a&other=1").await, @r#"{"strategyType":"PROBABILISTIC","probabilisticSampling":{"samplingRate":1.0},"operationSampling":{"defaultSamplingProbability":1.0,"defaultLowerBoundTracesPerSecond":0.0,"perOperationStrategies":[],"defaultUpperBoundTracesPerSecond":0.0}}"#);
}

#[tokio::test]
async fn service_name_is_url_decoded() {
    let server = TestServer::with(&[policy("one", &[("my shop/ü", &[])], percent("25%"))]).await;
    let strategy = get_strategy(&server, "/sampling?service=my+shop%2F%C3%BC").await;
    assert!(strategy.contains(r#""samplingRate":0.25"#), "{strategy}");
}

#[rstest]
#[case::none("/sampling", StatusCode::BAD_REQUEST)]
#[case::another("/sampling?name=a", StatusCode::BAD_REQUEST)]
#[case::two("/sampling?service=a&service=b", StatusCode::BAD_REQUEST)]
#[case::the_same_twice("/sampling?service=a&service=a", StatusCode::BAD_REQUEST)]
#[case::empty("/sampling?service=", StatusCode::BAD_REQUEST)]
#[case::a_control_character("/sampling?service=%0A", StatusCode::BAD_REQUEST)]
#[case::elsewhere("/baggage?service=a", StatusCode::NOT_FOUND)]
#[tokio::test]
async fn bad_requests_are_explained(#[case] path: &str, #[case] expected: StatusCode) {
    let server = TestServer::with(&[]).await;
    let (status, content_type, body) = get(&server, path).await;
    assert_eq!(
        (status, content_type.as_str()),
        (expected, "application/problem+json")
    );
    assert!(body.contains("service"), "{body}");
    if expected == StatusCode::BAD_REQUEST {
        let refused = r#"spoor_control_refused_total{endpoint="Http",reason="Malformed"} 1"#;
        server.wait_for_metric(refused).await;
    }
}

#[tokio::test]
async fn methods_other_than_get_are_refused() {
    let server = TestServer::with(&[]).await;
    let request = reqwest::Client::new().request(Method::POST, format!("{}/sampling", server.http));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn unavailable_before_the_first_publication() {
    let server = TestServer::empty(ControlSettings::default()).await;
    let (status, _, body) = get(&server, "/sampling?service=a").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    server
        .wait_for_metric(r#"spoor_control_refused_total{endpoint="Http",reason="NotPublished"} 1"#)
        .await;
    Control::publish(&server.control, resolved(&[]));
    get_strategy(&server, "/sampling?service=a").await;
}
