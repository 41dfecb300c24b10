//! The receivers: accepted requests and refusals.

mod bounds;
mod compression;
mod grpc;
mod json;
mod origins;
mod other_signals;
mod rejected;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::ResourceSpans,
};
use prost::Message;
use reqwest::{Client, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use spoor_traces::{PipelineSettings, ReceiveSettings, TraceId};

use crate::{
    receiver::Receiver,
    spans::{a_to_b, trace_id},
};

fn request(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(trace_id(number).try_into().unwrap())
}

fn receiving(receive: ReceiveSettings) -> PipelineSettings {
    PipelineSettings {
        receive,
        ..PipelineSettings::default()
    }
}

/// A gRPC message.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// A gRPC message whose content is already compressed.
fn compressed_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = frame(message);
    frame[0] = 1;
    frame
}

/// The headers of a response, which have the status if there is no message.
async fn grpc(receiver: &Receiver, body: Vec<u8>) -> reqwest::header::HeaderMap {
    grpc_with(receiver, body, "identity").await
}

async fn grpc_with(
    receiver: &Receiver,
    body: Vec<u8>,
    encoding: &str,
) -> reqwest::header::HeaderMap {
    let path = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
    call(receiver, path, body, encoding).await
}

async fn call(
    receiver: &Receiver,
    path: &str,
    body: Vec<u8>,
    encoding: &str,
) -> reqwest::header::HeaderMap {
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let response = client
        .post(format!("http://{}/{path}", receiver.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(body)
        .send()
        .await
        .unwrap();
    response.headers().clone()
}

#[tokio::test]
async fn stores_spans_as_received() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let sent = a_to_b(1, 1_000, 300, true);
    let response = receiver.post(request(sent.clone())).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-protobuf");
    assert!(response.bytes().await.unwrap().is_empty());
    let stored = receiver.pipeline.store().trace(id(1)).unwrap();
    assert_eq!(stored.decode(), sent);
    receiver.assert_balanced();
}

#[tokio::test]
async fn accepts_gzip_and_json() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let sent = a_to_b(1, 1_000, 300, false);
    let compressed = receiver
        .post(gzip(&request(sent.clone())))
        .header("content-encoding", "gzip");
    assert_eq!(compressed.send().await.unwrap().status(), StatusCode::OK);

    let json = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]},
        "scopeSpans": [{
            "scope": {"name": "my.library", "version": "1.0.0"},
            "spans": [{
                "traceId": "5B8EFFF798038103D269B633813FC60C",
                "spanId": "EEE19B7EC3C1B174",
                "parentSpanId": "EEE19B7EC3C1B173",
                "name": "I'm a server span",
                "startTimeUnixNano": "1544712660000000000",
                "endTimeUnixNano": "1544712661000000000",
                "kind": 2,
                "attributes": [
                    {"key": "my.span.attr", "value": {"stringValue": "some value"}},
                    {"key": "my.number", "value": {"intValue": "7"}},
                ],
            }],
        }],
    }]});
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&json).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.json::<Value>().await.unwrap(), json!({}));

    let store = receiver.pipeline.store();
    assert_eq!(store.trace(id(1)).unwrap().decode(), sent);
    let stored = store
        .trace("5b8efff798038103d269b633813fc60c".parse().unwrap())
        .unwrap();
    assert_eq!(
        stored.decode()[0].scope_spans[0].spans[0].name,
        "I'm a server span"
    );
    assert_eq!(store.services(), ["my.service", "service-a", "service-b"]);
}

#[rstest]
#[case::truncated("application/x-protobuf", "", b"\x0a\x7f\x0a", 400, "bad_data")]
#[case::random(
    "application/x-protobuf",
    "",
    b"\xff\xff\xff\xff\xff\xff",
    400,
    "bad_data"
)]
#[case::json("application/json", "", b"{\"resourceSpans\": [", 400, "bad_data")]
#[case::other_json("application/json", "", b"[1, 2]", 400, "bad_data")]
#[case::not_gzip("application/x-protobuf", "gzip", b"hello", 400, "bad_data")]
#[case::text("text/plain", "", b"", 415, "unsupported_type")]
#[case::no_type("", "", b"", 415, "unsupported_type")]
#[case::snappy("application/json", "snappy", b"", 415, "unsupported_type")]
#[tokio::test]
async fn refuses_with_a_status(
    #[case] content_type: &str,
    #[case] encoding: &str,
    #[case] body: &'static [u8],
    #[case] expected: u16,
    #[case] reason: &str,
) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new()
        .post(url)
        .header("content-type", content_type)
        .header("content-encoding", encoding)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), expected);
    let response_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let response = response.bytes().await.unwrap();
    if content_type == "application/x-protobuf" {
        assert_eq!(response_type, content_type);
        // google.rpc.Status: the code, then the message.
        assert_eq!(response[..2], [0x08, 3]);
        assert_eq!(response[2], 0x12);
    } else {
        assert_eq!(response_type, "application/json");
        let response: Value = serde_json::from_slice(&response).unwrap();
        assert_eq!(response["code"], 3);
        assert!(!response["message"].as_str().unwrap().is_empty());
    }
    let line = format!("spoor_traces_requests_refused_total{{reason=\"{reason}\"}} 1");
    assert!(receiver.metrics().contains(&line), "{}", receiver.metrics());
    assert_eq!(receiver.pipeline.totals().received, 0);
}

#[rstest]
#[case("GET", "/", 200)]
#[case("GET", "/v1/traces", 405)]
#[case("POST", "/v1/metrics", 404)]
#[case("POST", "/v1/logs", 404)]
#[case("POST", "/", 404)]
#[tokio::test]
async fn serves_only_traces(#[case] method: &str, #[case] path: &str, #[case] expected: u16) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let url = format!("http://{}{path}", receiver.http);
    let response = Client::new()
        .request(method.parse().unwrap(), url)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), expected);
    assert_eq!(response.headers().contains_key("allow"), expected == 405);
}

#[tokio::test]
async fn refuses_requests_after_shutdown() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    receiver.shutdown.cancel();
    let body = request(a_to_b(1, 1, 1, false));
    let mut status = StatusCode::OK;
    while status == StatusCode::OK {
        status = receiver.post(body.clone()).send().await.unwrap().status();
    }
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(grpc(&receiver, frame(&body)).await["grpc-status"], "14");
    receiver.assert_balanced();
}
