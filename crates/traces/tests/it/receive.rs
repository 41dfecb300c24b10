//! What the receivers take, and how they refuse.

use std::{io::Write, time::Duration};

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
    trace::v1::ResourceSpans,
};
use prost::Message;
use reqwest::{Client, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use spoor_traces::{OtherSignals, ReceiveSettings, Search, Settings, TraceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::codec::CompressionEncoding;

use crate::{
    receiver::{Receiver, eventually},
    spans::{a_to_b, batch, span, trace_id},
};

fn request(resource_spans: Vec<ResourceSpans>) -> Vec<u8> {
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(trace_id(number).try_into().unwrap())
}

fn receiving(receive: ReceiveSettings) -> Settings {
    Settings {
        receive,
        ..Settings::default()
    }
}

#[tokio::test]
async fn keeps_what_comes_as_it_came() {
    let receiver = Receiver::start(Settings::default()).await;
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
async fn takes_gzip_and_json() {
    let receiver = Receiver::start(Settings::default()).await;
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

/// What the JSON mapping of protobuf allows.
#[rstest]
#[case::nothing(json!({}))]
#[case::no_spans(json!({"resourceSpans": []}))]
#[case::empty_parts(json!({"resourceSpans": [{"scopeSpans": [{"spans": []}]}, {}]}))]
#[case::unknown_field(json!({"resourceSpans": [], "somethingNew": {"a": [1]}}))]
#[case::attribute(attributed(json!({"key": "a", "value": {"intValue": 7}})))]
#[case::text_number(attributed(json!({"key": "a", "value": {"intValue": "7"}})))]
#[case::whole_double(attributed(json!({"key": "a", "value": {"doubleValue": 7}})))]
#[case::text_double(attributed(json!({"key": "a", "value": {"doubleValue": "1.5"}})))]
#[case::not_a_number(attributed(json!({"key": "a", "value": {"doubleValue": "NaN"}})))]
#[case::null(attributed(json!({"key": "a", "value": {"arrayValue": {"values": null}}})))]
#[case::nulls(json!({"resourceSpans": [{"resource": null, "schemaUrl": null, "scopeSpans": null}]}))]
#[case::bool(attributed(json!({"key": "a", "value": {"boolValue": true}})))]
#[case::array(attributed(json!({"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}})))]
#[case::empty_array(attributed(json!({"key": "a", "value": {"arrayValue": {}}})))]
#[case::pairs(attributed(json!({"key": "a", "value": {"kvlistValue": {"values": []}}})))]
#[case::bytes(attributed(json!({"key": "a", "value": {"bytesValue": "AQID"}})))]
#[case::no_value(attributed(json!({"key": "a"})))]
#[case::empty_value(attributed(json!({"key": "a", "value": {}})))]
#[case::unknown_attribute_field(attributed(json!({"key": "a", "value": {"stringValue": "x"}, "new": 1})))]
#[tokio::test]
async fn takes_all_forms_of_json(#[case] body: Value) {
    let receiver = Receiver::start(Settings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    let status = response.status();
    let answer = response.text().await.unwrap();
    assert_eq!((status, answer.as_str()), (StatusCode::OK, "{}"));
}

/// A body of any size is read by the same rules.
#[tokio::test]
async fn takes_large_json_in_all_forms_too() {
    let receiver = Receiver::start(Settings::default()).await;
    let padding: Vec<_> = (1..=8_000).map(|id: u64| {
        json!({"traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "padding", "attributes": [
            {"key": "a", "value": {"doubleValue": "1.5"}},
            {"key": "b", "value": {"arrayValue": {}}},
        ], "events": null, "links": null, "status": null, "parentSpanId": null})
    }).collect();
    let entities = json!([{"type": "service", "idKeys": ["service.name"]}]);
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": null, "entityRefs": entities},
        "scopeSpans": [{"spans": padding}],
    }]});
    assert!(body.to_string().len() > 1 << 20);
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "{}");
    assert_eq!(receiver.pipeline.totals().kept, 8_000);
}

#[rstest]
#[case::snake_case(json!({"resource_spans": [{"scope_spans": []}]}), "resourceSpans")]
#[case::old_scopes(json!({"resourceSpans": [{"instrumentationLibrarySpans": [{}]}]}), "scopeSpans")]
#[tokio::test]
async fn warns_of_names_it_ignored(#[case] body: Value, #[case] expected: &str) {
    let receiver = Receiver::start(Settings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = response.json().await.unwrap();
    let partial = &answer["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "0");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(message.contains(expected), "{message}");
}

fn attributed(attribute: Value) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute]},
        "scopeSpans": [{"spans": [{
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "name": "x",
            "startTimeUnixNano": 1_544_712_660_000_000_000_u64,
            "attributes": [attribute],
            "events": [{"name": "e", "attributes": [attribute]}],
            "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}],
            "status": {},
            "newField": null,
        }]}],
    }]})
}

#[tokio::test]
async fn says_which_spans_it_rejects() {
    let receiver = Receiver::start(Settings::default()).await;
    let mut spans: Vec<_> = (1..=4)
        .map(|number| span(number, number, 0, "x", 1, 2))
        .collect();
    spans[1].trace_id = vec![0; 16];
    spans[2].span_id = vec![1; 7];
    let sent = request(vec![batch("service-a", spans)]);
    let response = receiver.post(sent.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer = ExportTraceServiceResponse::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(answer.partial_success.unwrap().rejected_spans, 2);

    let channel = format!("http://{}", receiver.grpc);
    let mut client = TraceServiceClient::connect(channel).await.unwrap();
    let sent = ExportTraceServiceRequest::decode(sent.as_slice()).unwrap();
    let answer = client.export(sent).await.unwrap().into_inner();
    assert_eq!(answer.partial_success.unwrap().rejected_spans, 2);

    let totals = receiver.pipeline.totals();
    assert_eq!((totals.received, totals.kept), (8, 4));
    assert_eq!((totals.invalid_trace_id, totals.invalid_span_id), (2, 2));
    receiver.assert_balanced();
    let metrics = receiver.metrics();
    for line in [
        "spoor_traces_spans_received_total 8",
        "spoor_traces_spans_kept_total 4",
        "spoor_traces_spans_dropped_total{reason=\"invalid_trace_id\"} 2",
        "spoor_traces_spans_dropped_total{reason=\"invalid_span_id\"} 2",
        "spoor_traces_spans_gathering 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
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
    let receiver = Receiver::start(Settings::default()).await;
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
    let answer_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let answer = response.bytes().await.unwrap();
    if content_type == "application/x-protobuf" {
        assert_eq!(answer_type, content_type);
        // google.rpc.Status: the code, then the message.
        assert_eq!(answer[..2], [0x08, 3]);
        assert_eq!(answer[2], 0x12);
    } else {
        assert_eq!(answer_type, "application/json");
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["code"], 3);
        assert!(!answer["message"].as_str().unwrap().is_empty());
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
    let receiver = Receiver::start(Settings::default()).await;
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
async fn refuses_what_is_too_large_without_keeping_it() {
    let receiver = Receiver::start(Settings::default()).await;
    let response = receiver.post(vec![0; 100 << 20]).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // 64 MiB of zeros in 64 kB.
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let response = receiver
        .post(bomb)
        .header("content-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        receiver
            .metrics()
            .contains("requests_refused_total{reason=\"too_large\"} 2")
    );
    receiver.post_ok(request(a_to_b(1, 1, 1, false))).await;
}

/// JSON takes its own size once more while it is read, however many spans it holds.
#[tokio::test]
async fn refuses_json_that_memory_cannot_hold() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        max_receiving_bytes: 5 << 20,
        ..ReceiveSettings::default()
    }))
    .await;
    let spans = vec!["{}"; 1 << 20].join(",");
    let body = format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{spans}]}}]}}]}}"#);
    let response = Client::new()
        .post(format!("http://{}/v1/traces", receiver.http))
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let metrics = receiver.metrics();
    assert!(
        metrics.contains("requests_refused_total{reason=\"too_large\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn asks_to_come_back_when_it_has_no_memory() {
    let receive = ReceiveSettings {
        max_receiving_bytes: 1_000,
        ..ReceiveSettings::default()
    };
    let receiver = Receiver::start(receiving(receive)).await;
    let body = request(
        (0..5)
            .flat_map(|number| a_to_b(number, 1, 1, true))
            .collect(),
    );
    assert!(body.len() > 1_000);
    let response = receiver.post(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    let answer = grpc(&receiver, frame(&body)).await;
    assert_eq!(answer["grpc-status"], "8");
    assert!(answer.contains_key("grpc-status-details-bin"));
    let small = request(vec![batch("a", vec![span(1, 1, 0, "x", 1, 2)])]);
    receiver.post_ok(small).await;
}

#[tokio::test]
async fn does_not_wait_for_ever_for_a_body() {
    let body_deadline = Duration::from_millis(50);
    let receiver = Receiver::start(receiving(ReceiveSettings {
        body_deadline,
        ..ReceiveSettings::default()
    }))
    .await;
    let mut connection = tokio::net::TcpStream::connect(receiver.http).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\
                content-type: application/json\r\n\r\n{";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 32];
    connection.read_exact(&mut answer).await.unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn turns_senders_away_when_it_shuts_down() {
    let receiver = Receiver::start(Settings::default()).await;
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

#[tokio::test]
async fn takes_grpc() {
    let receiver = Receiver::start(Settings::default()).await;
    let channel = format!("http://{}", receiver.grpc);
    let mut client = TraceServiceClient::connect(channel).await.unwrap();
    let plain = a_to_b(1, 1_000, 300, true);
    let export = |resource_spans| ExportTraceServiceRequest { resource_spans };
    let answer = client
        .export(export(plain.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer, ExportTraceServiceResponse::default());
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
async fn refuses_over_grpc() {
    let receiver = Receiver::start(Settings::default()).await;
    assert_eq!(
        grpc(&receiver, frame(b"\x0a\x7f\x0a")).await["grpc-status"],
        "3"
    );
    let too_large = grpc(&receiver, frame(&vec![0; 17 << 20])).await;
    assert_eq!(too_large["grpc-status"], "8");
    assert!(
        !too_large.contains_key("grpc-status-details-bin"),
        "not to be tried again"
    );
    let channel = tonic::transport::Endpoint::new(format!("http://{}", receiver.grpc)).unwrap();
    let mut client = TraceServiceClient::new(channel.connect().await.unwrap())
        .send_compressed(CompressionEncoding::Gzip);
    let bomb = ExportTraceServiceRequest {
        resource_spans: vec![batch(&"a".repeat(64 << 20), Vec::new())],
    };
    let refused = client.export(bomb).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    assert!(refused.details().is_empty(), "not to be tried again");
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

/// A gRPC message.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// The same, compressed.
fn compressed_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = frame(message);
    frame[0] = 1;
    frame
}

/// The headers of an answer, which have the status if there is no message.
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
async fn has_room_for_ten_thousand_services() {
    let store_bytes = 16 << 20;
    let receiver = Receiver::start(Settings {
        store_bytes,
        ..Settings::default()
    })
    .await;
    for hundred in 0..100 {
        let one = |number| {
            let service = format!("service-{number}");
            batch(
                &service,
                vec![span(number + 1, 1, 0, "GET /", number, number + 1)],
            )
        };
        let batches = (hundred * 100..hundred * 100 + 100).map(one).collect();
        receiver.post_ok(request(batches)).await;
    }
    let store = receiver.pipeline.store();
    assert_eq!(store.services().len(), 10_000);
    let service = Some("service-4711".to_owned());
    assert_eq!(
        store
            .search(&Search {
                service,
                ..Search::default()
            })
            .len(),
        1
    );
    assert!(store.occupancy().bytes <= store_bytes);
    eventually("everything is counted", || {
        receiver.pipeline.totals().kept == 10_000
    })
    .await;
}

#[rstest]
#[case::gzip("gzip", gzip as fn(&[u8]) -> Vec<u8>)]
#[case::deflate("deflate", deflate)]
#[case::zstd("zstd", zstd)]
#[tokio::test]
async fn takes_compressed_bodies(#[case] name: &str, #[case] compress: fn(&[u8]) -> Vec<u8>) {
    let receiver = Receiver::start(Settings::default()).await;
    let body = compress(&request(a_to_b(1, 1_000, 300, true)));
    let sent = receiver.post(body).header("content-encoding", name).send();
    assert_eq!(sent.await.unwrap().status(), StatusCode::OK);
    let body = compress(&request(a_to_b(2, 1_000, 300, true)));
    let answer = grpc_with(&receiver, compressed_frame(&body), name).await;
    assert!(!answer.contains_key("grpc-status"), "{answer:?}");
    assert!(receiver.pipeline.store().trace(id(1)).is_some());
    assert!(receiver.pipeline.store().trace(id(2)).is_some());
    let bomb = compress(&vec![0; 17 << 20]);
    let sent = receiver.post(bomb).header("content-encoding", name).send();
    assert_eq!(sent.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let sent = receiver.post(vec![7; 100]).header("content-encoding", name);
    assert_eq!(sent.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn says_which_compressions_it_takes() {
    let receiver = Receiver::start(Settings::default()).await;
    let sent = receiver.post(vec![7]).header("content-encoding", "snappy");
    let answer = sent.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.headers()["accept-encoding"], "gzip, deflate, zstd");
    let answer = grpc_with(&receiver, compressed_frame(&[7]), "snappy").await;
    assert_eq!(answer["grpc-status"], "12");
    assert_eq!(answer["grpc-accept-encoding"], "gzip, deflate, zstd");
}

#[tokio::test]
async fn grpc_counts_decompressed_bytes() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        max_receiving_bytes: 1 << 20,
        ..ReceiveSettings::default()
    }))
    .await;
    let zeros = compressed_frame(&gzip(&vec![0; 8 << 20]));
    let answer = grpc_with(&receiver, zeros, "gzip").await;
    assert_eq!(answer["grpc-status"], "8");
    assert!(
        answer.contains_key("grpc-status-details-bin"),
        "to be tried again"
    );
    assert_eq!(grpc(&receiver, frame(&[])).await.get("grpc-status"), None);
}

#[tokio::test]
async fn other_signals_are_refused_with_a_reason() {
    let receiver = Receiver::start(Settings::default()).await;
    let over_grpc = other_signal_over_grpc(&receiver).await;
    assert_eq!(over_grpc["grpc-status"], "12");
    let message = over_grpc["grpc-message"].to_str().unwrap();
    assert!(message.contains("OTEL_METRICS_EXPORTER"), "{message}");
    let url = format!("http://{}/v1/logs", receiver.http);
    let answer = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.text().await.unwrap().contains("OTEL_LOGS_EXPORTER"));
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
    let answer = Client::new().post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
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

#[tokio::test]
async fn web_pages_of_this_machine_may_send() {
    let receiver = Receiver::start(Settings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let question = |origin: &'static str| {
        Client::new()
            .request(reqwest::Method::OPTIONS, &url)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,traceparent")
            .send()
    };
    let allowed = question("http://localhost:3000").await.unwrap();
    assert_eq!(allowed.status(), StatusCode::NO_CONTENT);
    let headers = allowed.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://localhost:3000"
    );
    assert_eq!(
        headers["access-control-allow-headers"],
        "content-type,traceparent"
    );
    let refused = question("https://evil.example").await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(
        !refused
            .headers()
            .contains_key("access-control-allow-origin")
    );
    let sent = receiver.post(request(a_to_b(1, 1_000, 300, true)));
    let sent = sent.header("origin", "http://127.0.0.1:8080").send();
    let headers = sent.await.unwrap().headers().clone();
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://127.0.0.1:8080"
    );
}
