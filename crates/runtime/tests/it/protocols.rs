//! The protocols, addresses and host names of a port.

use axum::{Router, routing::get};
use spoor_runtime::{Limits, by_protocol, grpc_fallback};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{DEADLINE, listen, listen_with};

fn http2() -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    client.build().unwrap()
}

#[tokio::test]
async fn one_port_serves_both_http_versions() {
    let running = listen(Limits::default());
    let first = reqwest::get(running.url()).await.unwrap();
    assert_eq!(first.version(), http::Version::HTTP_11);
    let second = http2().get(running.url()).send().await.unwrap();
    assert_eq!(second.version(), http::Version::HTTP_2);
    assert_eq!(second.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn localhost_has_both_loopback_addresses() {
    let running = listen(Limits::default());
    let port = running.address.port();
    let Ok(_) = tokio::net::TcpListener::bind("[::1]:0").await else {
        return eprintln!("SKIPPED: this machine has no ::1");
    };
    let response = reqwest::get(format!("http://[::1]:{port}/")).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn dns_rebinding_is_refused() {
    let running = listen(Limits::default());
    for client in [reqwest::Client::new(), http2()] {
        let request = client.get(running.url()).header("host", "evil.example");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 403);
        assert!(response.text().await.unwrap().contains("evil.example"));
    }
}

#[tokio::test]
async fn a_tls_client_gets_an_alert() {
    let running = listen(Limits::default());
    let mut stream = running
        .connect_and_send(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3])
        .await;
    let mut alert = [0; 7];
    let reading = stream.read_exact(&mut alert);
    tokio::time::timeout(DEADLINE, reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(alert[0], 0x15);
    let _ = stream.shutdown().await;
}

#[tokio::test]
async fn each_protocol_has_its_own_router() {
    let http = Router::new().route("/", get(async || "HTTP"));
    let grpc = grpc_fallback(Router::new(), "this port has nothing");
    let router = by_protocol(http, grpc);
    let running = listen_with(router, Limits::default(), DEADLINE);
    let response = reqwest::get(running.url()).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "HTTP");
    let call = http2()
        .post(running.url() + "a.Service/Method")
        .header("content-type", "application/grpc");
    let response = call.send().await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    let message = response.headers()["grpc-message"].to_str().unwrap();
    assert!(message.contains("a.Service/Method"), "{message}");
}
