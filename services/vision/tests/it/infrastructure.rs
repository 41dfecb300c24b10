use spoor_testing::infrastructure::{assert_healthy, assert_listed, metrics};

use crate::running::{Vision, png};

#[tokio::test(flavor = "multi_thread")]
async fn all_are_healthy_say_what_they_offer_and_have_an_operators_port() {
    let vision = Vision::start().await;
    vision.classify(png(0)).await;
    for (address, service) in [
        (vision.ensemble.address, "spoor.vision.v1.Ensemble"),
        (vision.efficientnetb0.address, "spoor.vision.v1.Model"),
        (vision.mobilenetv2.address, "spoor.vision.v1.Model"),
    ] {
        assert_healthy(address, service).await;
        assert_listed(address, service).await;
    }
    for (ops, metric) in [
        (
            vision.preprocessing.ops,
            "http_server_request_duration_seconds",
        ),
        (vision.ensemble.ops, "rpc_client_call_duration_seconds"),
        (
            vision.efficientnetb0.ops,
            "rpc_server_call_duration_seconds",
        ),
        (vision.mobilenetv2.ops, "rpc_server_call_duration_seconds"),
    ] {
        let metrics = metrics(ops).await;
        assert!(metrics.contains(metric), "{metrics}");
    }
}
