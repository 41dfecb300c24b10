//! Metrics, logs and profiles.

use reqwest::{Client, StatusCode};
use spoor_traces::{OtherSignals, PipelineSettings, ReceiveSettings};

use super::{call, frame, receiving};
use crate::receiver::Receiver;

#[tokio::test]
async fn other_signals_are_refused_with_a_reason() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let over_grpc = other_signal_over_grpc(&receiver).await;
    assert_eq!(over_grpc["grpc-status"], "12");
    let message = over_grpc["grpc-message"].to_str().unwrap();
    assert!(message.contains("OTEL_METRICS_EXPORTER"), "{message}");
    let url = format!("http://{}/v1/logs", receiver.http);
    let response = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains("OTEL_LOGS_EXPORTER")
    );
}

#[tokio::test]
async fn other_signals_are_discarded_and_counted() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        other_signals: OtherSignals::Discard,
        ..ReceiveSettings::default()
    }))
    .await;
    let over_grpc = other_signal_over_grpc(&receiver).await;
    assert!(!over_grpc.contains_key("grpc-status"), "{over_grpc:?}");
    let url = format!("http://{}/v1/logs", receiver.http);
    let response = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let metrics = receiver.metrics();
    for signal in ["metrics", "logs"] {
        let counted = format!("requests_discarded_total{{signal=\"{signal}\"}} 1");
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

async fn other_signal_over_grpc(receiver: &Receiver) -> reqwest::header::HeaderMap {
    let path = "opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
    call(receiver, path, frame(&[]), "identity").await
}
