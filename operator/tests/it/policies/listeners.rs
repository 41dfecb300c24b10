//! The listeners of the role.

use std::time::{Duration, Instant};

use spoor_testing::infrastructure;

use crate::{apiserver, role::Policies};

#[tokio::test(flavor = "multi_thread")]
async fn listeners_close_with_the_role() {
    let test = "listeners_close_with_the_role";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-close").await;
    let role = Policies::start(&namespace).await;
    let endpoints = role.endpoints().await;
    let started = Instant::now();
    role.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    for endpoint in [
        endpoints.http,
        endpoints.grpc,
        endpoints.stream,
        endpoints.metrics,
    ] {
        assert!(tokio::net::TcpStream::connect(endpoint).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_give_hints_and_reflection() {
    let test = "ports_give_hints_and_reflection";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-introspection").await;
    let role = Policies::start(&namespace).await;
    let endpoints = role.endpoints().await;
    for address in [endpoints.http, endpoints.grpc] {
        let service = "jaeger.api_v2.SamplingManager";
        infrastructure::assert_healthy(address, service).await;
        infrastructure::assert_listed(address, service).await;
    }
    for (address, path, hint) in [
        (endpoints.http, "v1/traces", "STACK-otlp"),
        (endpoints.grpc, "api/traces", "STACK-query"),
        (endpoints.metrics, "sampling", "5778"),
        (endpoints.metrics, "v1/traces", "STACK-otlp"),
    ] {
        let response = reqwest::get(format!("http://{address}/{path}"))
            .await
            .unwrap();
        assert_eq!(response.status(), 404);
        assert!(response.text().await.unwrap().contains(hint));
    }
    role.stop().await;
}
