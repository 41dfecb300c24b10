use spoor_testing::infrastructure::{assert_healthy, assert_listed, metrics};

use crate::pair::{get, json, service_a, service_b};

const NAME: &str = "spoor.ab.v1.ServiceB";

#[tokio::test(flavor = "multi_thread")]
async fn service_b_is_healthy() {
    assert_healthy(service_b(&[]).await.address, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_b_has_reflection() {
    assert_listed(service_b(&[]).await.address, NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_have_an_ops_port() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    json(get(a.address, "/?wait=0ms&calc=0").await).await;
    for (ops, metric) in [
        (a.ops, "http_server_request_duration_seconds"),
        (b.ops, "rpc_server_call_duration_seconds"),
    ] {
        let metrics = metrics(ops).await;
        assert!(metrics.contains(metric), "{metrics}");
    }
}
