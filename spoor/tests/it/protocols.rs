//! Every protocol at one address: SDKs use different protocols, and their settings name one
//! address.

use reqwest::Client;
use spoor_testing::infrastructure;

use crate::lab::Lab;

const SAMPLING: &str = "jaeger.api_v2.SamplingManager/GetSamplingStrategy";
const EXPORT: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";

#[tokio::test(flavor = "multi_thread")]
async fn each_port_serves_both_protocols() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    for port in ["sampling-http", "sampling-grpc"] {
        for client in [&Client::new(), &http2] {
            let url = format!("{}/api/sampling?service=service-b", lab.url(port));
            let response = client.get(url).send().await.unwrap();
            assert_eq!(response.status(), 200, "{port}");
            assert!(response.text().await.unwrap().contains("PROBABILISTIC"));
        }
        call(&http2, lab.url(port), SAMPLING, b"\x0a\x09service-b").await;
    }
    for port in ["otlp-http", "otlp-grpc"] {
        for client in [&Client::new(), &http2] {
            let url = format!("{}/v1/traces", lab.url(port));
            let post = client.post(url).header("content-type", "application/json");
            let response = post.body("{}").send().await.unwrap();
            assert_eq!(response.status(), 200, "{port}");
        }
        call(&http2, lab.url(port), EXPORT, b"").await;
    }
    let rebound = Client::new().get(lab.url("traces"));
    let rebound = rebound.header("host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 403);
}

/// A call that must succeed. A status in the headers would be that of an error.
async fn call(client: &Client, url: &str, method: &str, message: &[u8]) {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let body = [&[0][..], &length, message].concat();
    let response = client
        .post(format!("{url}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .send()
        .await
        .unwrap();
    let headers = response.headers();
    assert!(!headers.contains_key("grpc-status"), "{url}: {headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_ports_have_health_and_reflection() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let services = [
        ("otlp-grpc", EXPORT),
        ("sampling-grpc", SAMPLING),
        ("sampling-grpc", "spoor.control.v1.PolicyStream/Subscribe"),
        ("sampling-grpc", "spoor.control.v1.TailRuleStream/Subscribe"),
    ];
    for (port, method) in services {
        let address = lab.url(port).trim_start_matches("http://");
        let address = address.parse().unwrap();
        let (service, _) = method.split_once('/').unwrap();
        infrastructure::assert_healthy(address, service).await;
        infrastructure::assert_listed(address, service).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_port_names_the_right_one() {
    let lab = Lab::start_with(&["--services", "service-b"]).await;
    let http2 = Client::builder().http2_prior_knowledge().build().unwrap();
    let call = http2
        .post(format!("{}/{EXPORT}", lab.url("traces")))
        .header("content-type", "application/grpc");
    let response = call.send().await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    let message = response.headers()["grpc-message"].to_str().unwrap();
    assert!(message.contains("16685"), "{message}");
    for (port, path, elsewhere) in [
        ("traces", "/v1/traces", "otlp-http"),
        ("otlp-http", "/api/traces", "traces"),
        ("otlp-grpc", "/sampling", "sampling-http"),
        ("traces", "/api/sampling", "sampling-http"),
        ("query-grpc", "/api/v3/services", "traces"),
        ("sampling-grpc", "/v1/metrics", "otlp-http"),
        ("admin", "/api/v2/spans", "otlp-http"),
    ] {
        let url = format!("{}{path}", lab.url(port));
        let response = Client::new().post(url).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404, "{port} {path}");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let (_, number) = lab.url(elsewhere).rsplit_once(':').unwrap();
        let response = response.text().await.unwrap();
        assert!(response.contains(&format!("port {number}")), "{response}");
    }
    let response = Client::new().get(lab.url("query-grpc")).send().await;
    let response = response.unwrap().text().await.unwrap();
    assert!(response.contains("16686"), "{response}");
}
