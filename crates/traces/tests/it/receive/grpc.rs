//! OTLP over gRPC.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, trace_service_client::TraceServiceClient,
};
use spoor_traces::PipelineSettings;
use tonic::codec::CompressionEncoding;

use super::{frame, grpc, id};
use crate::{
    receiver::Receiver,
    spans::{a_to_b, batch},
};

#[tokio::test]
async fn stores_spans_sent_over_grpc() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let channel = format!("http://{}", receiver.grpc);
    let mut client = TraceServiceClient::connect(channel).await.unwrap();
    let plain = a_to_b(1, 1_000, 300, true);
    let export = |resource_spans| ExportTraceServiceRequest { resource_spans };
    let response = client
        .export(export(plain.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response, ExportTraceServiceResponse::default());
    let compressed = a_to_b(2, 2_000, 300, true);
    let mut client = client.send_compressed(CompressionEncoding::Gzip);
    client.export(export(compressed.clone())).await.unwrap();
    assert_eq!(
        receiver.pipeline.store().trace(id(1)).unwrap().decode(),
        plain
    );
    assert_eq!(
        receiver.pipeline.store().trace(id(2)).unwrap().decode(),
        compressed
    );
}

#[tokio::test]
async fn invalid_grpc_requests_are_refused() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    assert_eq!(
        grpc(&receiver, frame(b"\x0a\x7f\x0a")).await["grpc-status"],
        "3"
    );
    let too_large = grpc(&receiver, frame(&vec![0; 17 << 20])).await;
    assert_eq!(too_large["grpc-status"], "8");
    assert!(
        !too_large.contains_key("grpc-status-details-bin"),
        "must not be retried"
    );
    let channel = tonic::transport::Endpoint::new(format!("http://{}", receiver.grpc)).unwrap();
    let mut client = TraceServiceClient::new(channel.connect().await.unwrap())
        .send_compressed(CompressionEncoding::Gzip);
    let bomb = ExportTraceServiceRequest {
        resource_spans: vec![batch(&"a".repeat(64 << 20), Vec::new())],
    };
    let refused = client.export(bomb).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.details().is_empty(), "must not be retried");
    let metrics = receiver.metrics();
    assert!(
        metrics.contains("requests_refused_total{reason=\"bad_data\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("requests_refused_total{reason=\"too_large\"} 2"),
        "{metrics}"
    );
}
