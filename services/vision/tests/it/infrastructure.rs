use spoor_telemetry::{Telemetry, serve::ServiceArgs};
use spoor_testing::{
    Running, args,
    infrastructure::{assert_healthy, assert_listed, metrics},
    unused_address,
};
use spoor_vision::{ensemble, model, preprocessing};

use crate::{
    running::{Vision, png, post},
    spans::CAPTURED,
};

#[tokio::test(flavor = "multi_thread")]
async fn all_services_have_health_and_reflection() {
    let vision = Vision::start().await;
    for (address, service) in [
        (vision.ensemble.address, "spoor.vision.v1.Ensemble"),
        (vision.efficientnetb0.address, "spoor.vision.v1.Model"),
        (vision.mobilenetv2.address, "spoor.vision.v1.Model"),
    ] {
        assert_healthy(address, service).await;
        assert_listed(address, service).await;
    }
}

/// Creates telemetry with its own metrics, since the other tests share theirs.
fn own(service: &str) -> &'static Telemetry {
    Box::leak(Box::new(CAPTURED.spans.telemetry(service)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_an_ops_port() {
    let model: ServiceArgs<model::ModelArgs> = args(&["--model=mobilenetv2"]);
    let model = Running::start(model, own("mobilenetv2")).await;
    let urls = [
        format!("--efficientnetb0=http://{}", unused_address()),
        format!("--mobilenetv2=http://{}", model.address),
    ];
    let ensemble: ServiceArgs<ensemble::EnsembleArgs> = args(&urls.each_ref().map(String::as_str));
    let ensemble = Running::start(ensemble, own("ensemble")).await;
    let url = format!("--ensemble=http://{}", ensemble.address);
    let edge: ServiceArgs<preprocessing::PreprocessingArgs> = args(&[&url]);
    let edge = Running::start(edge, own("preprocessing")).await;
    assert_eq!(post(edge.address, png(0)).await.status(), 200);
    for (ops, metric) in [
        (edge.ops, "http_server_request_duration_seconds"),
        (ensemble.ops, "rpc_client_call_duration_seconds"),
        (model.ops, "rpc_server_call_duration_seconds"),
    ] {
        let metrics = metrics(ops).await;
        assert!(metrics.contains(metric), "{metrics}");
    }
}
