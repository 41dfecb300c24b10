//! Metrics of unmodified SDKs.

use std::io::Write;

use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prost::Message as _;
use reqwest::{Response, StatusCode};
use rstest::rstest;
use spoor_control::{CountSource, ObservedRate};
use spoor_policy::{Policy, statistics::Verdict};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{TestServer, count, eventually, instance, key, percent, policy};

const DROP: &str = "DROP";
const SAMPLED: &str = "RECORD_AND_SAMPLE";

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..Default::default()
    }
}

fn point(origin: &str, result: &str, time: u64, value: i64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![
            text("otel.span.parent.origin", origin),
            text("otel.span.sampling_result", result),
        ],
        start_time_unix_nano: 1,
        time_unix_nano: time * 1_000_000_000,
        value: Some(number_data_point::Value::AsInt(value)),
        ..Default::default()
    }
}

/// The request of a process.
fn request(service: &str, process: &str, points: Vec<NumberDataPoint>) -> Vec<u8> {
    let sum = Sum {
        data_points: points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    };
    let metric = Metric {
        name: "otel.sdk.span.started".to_owned(),
        data: Some(Data::Sum(sum)),
        ..Default::default()
    };
    let scope = ScopeMetrics {
        metrics: vec![metric],
        ..Default::default()
    };
    let attributes = vec![
        text("service.name", service),
        text("service.instance.id", process),
    ];
    let resource = Resource {
        attributes,
        ..Default::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource),
            scope_metrics: vec![scope],
            ..Default::default()
        }],
    }
    .encode_to_vec()
}

async fn send(server: &TestServer, body: Vec<u8>) -> StatusCode {
    post(server, body, "application/x-protobuf", "identity")
        .await
        .status()
}

async fn post(server: &TestServer, body: Vec<u8>, content_type: &str, encoding: &str) -> Response {
    let request = reqwest::Client::new()
        .post(format!("{}/v1/metrics", server.http))
        .header("content-type", content_type)
        .header("content-encoding", encoding)
        .body(body);
    request.send().await.unwrap()
}

async fn roots(server: &TestServer, service: &str, time: u64, dropped: i64, sampled: i64) {
    let points = vec![
        point("none", DROP, time, dropped),
        point("none", SAMPLED, time, sampled),
        point("local", SAMPLED, time, 1_000_000),
        point("remote", DROP, time, 1_000_000),
    ];
    assert_eq!(
        send(server, request(service, "1", points)).await,
        StatusCode::OK
    );
}

fn observed(server: &TestServer, name: &str) -> Option<ObservedRate> {
    server.control.evidence(&key(name)).unwrap().observed
}

async fn server(policies: &[Policy]) -> TestServer {
    let server = TestServer::with(policies).await;
    server
        .control
        .set_expected(vec![instance("a", "pod-1"), instance("b", "pod-2")]);
    server
}

#[tokio::test]
async fn sdk_counts_are_reported_without_a_verdict() {
    let server = server(&[policy("one", &[("a", &[])], percent("10%"))]).await;
    roots(&server, "a", 1, 900, 100).await;
    assert_eq!(
        observed(&server, "one"),
        None,
        "the first report covers an unknown time"
    );
    roots(&server, "a", 2, 1_800, 200).await;
    let seen = observed(&server, "one").unwrap();
    assert_eq!((seen.started, seen.sampled), (1_000, 100));
    assert_eq!(seen.source, CountSource::Reported);
    for time in 3..40 {
        let times = i64::try_from(time).unwrap();
        roots(
            &server,
            "a",
            time,
            1_800 + 10_000 * times,
            200 + 10_000 * times,
        )
        .await;
    }
    let seen = observed(&server, "one").unwrap();
    assert_eq!(seen.verdict, Verdict::Unknown, "{seen:?}");
    let evidence = server.control.evidence(&key("one")).unwrap();
    assert_eq!(evidence.root_services, ["a".parse().unwrap()]);
    assert!(evidence.services[0].has_reports && evidence.services[0].has_roots);
    server
        .wait_for_metric("spoor_control_metrics_requests_total 39")
        .await;
}

#[tokio::test]
async fn counts_of_clients_take_precedence() {
    let server = server(&[policy("one", &[("a", &[])], percent("50%"))]).await;
    let mut client = server.client("a", "pod-1").await;
    let plan = client.accept_plan().await;
    client.report(vec![count(&plan, "", 4, 2)]).await;
    roots(&server, "a", 1, 900, 100).await;
    roots(&server, "a", 2, 1_800, 200).await;
    eventually("the client's counts", || {
        observed(&server, "one")
            .is_some_and(|it| it.source == CountSource::Clients && it.started == 4)
    })
    .await;
}

/// The metric does not name operations.
#[tokio::test]
async fn sdk_counts_need_a_sole_policy() {
    let policies = [
        policy("one", &[("a", &["GET /"])], percent("50%")),
        policy("all", &[], percent("1%")),
    ];
    let server = server(&policies).await;
    for time in 1..4 {
        roots(&server, "a", time, 100, 100).await;
        roots(&server, "b", time, 990 * i64::try_from(time).unwrap(), 10).await;
    }
    assert_eq!(observed(&server, "one"), None);
    let seen = observed(&server, "all").unwrap();
    assert_eq!((seen.started, seen.sampled), (1_980, 0));
}

#[tokio::test]
async fn counts_from_before_a_policy_are_left_out() {
    let server = server(&[policy("one", &[("a", &[])], percent("50%"))]).await;
    roots(&server, "a", 1, 0, 0).await;
    let changed = [policy("one", &[("a", &[])], percent("1%"))];
    server.control.publish(crate::support::resolved(&changed));
    roots(&server, "a", 2, 50, 50).await;
    assert_eq!(observed(&server, "one"), None);
    roots(&server, "a", 3, 149, 51).await;
    let seen = observed(&server, "one").unwrap();
    assert_eq!((seen.started, seen.sampled), (100, 1));
}

#[tokio::test]
async fn unknown_services_are_ignored() {
    let server = server(&[policy("all", &[], percent("50%"))]).await;
    for time in 1..4 {
        roots(&server, "made-up", time, 100, 100).await;
    }
    let services = server.control.evidence(&key("all")).unwrap().services;
    assert!(services.iter().all(|it| it.service.as_str() != "made-up"));
}

#[rstest]
#[case::gzip("gzip", gzip as fn(&[u8]) -> Vec<u8>)]
#[case::deflate("deflate", deflate)]
#[case::zstd("zstd", zstd)]
#[tokio::test]
async fn compressed_bodies_are_accepted(
    #[case] encoding: &str,
    #[case] compress: fn(&[u8]) -> Vec<u8>,
) {
    let server = server(&[]).await;
    let points = vec![point("none", DROP, 1, 1)];
    let body = compress(&request("a", "1", points));
    let response = post(&server, body, PROTOBUF, encoding).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bomb = post(&server, compress(&vec![0; 8 << 20]), PROTOBUF, encoding).await;
    assert_eq!(bomb.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn refusal_lists_the_accepted_encodings() {
    let server = server(&[]).await;
    let response = post(&server, vec![], PROTOBUF, "snappy").await;
    assert_eq!(response.headers()["accept-encoding"], "gzip, deflate, zstd");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

const PROTOBUF: &str = "application/x-protobuf";

#[rstest]
#[case::json(b"{}".to_vec(), "application/json", "identity", 415, "UnsupportedType")]
#[case::snappy(vec![], PROTOBUF, "snappy", 415, "UnsupportedType")]
#[case::garbage(vec![0xff; 10], PROTOBUF, "identity", 400, "BadData")]
#[case::not_gzip(vec![0xff; 10], PROTOBUF, "gzip", 400, "BadData")]
#[case::large(vec![0; 512 * 1024 + 1], PROTOBUF, "identity", 413, "TooLarge")]
#[case::bomb(gzip(&vec![0; 8 << 20]), PROTOBUF, "gzip", 413, "TooLarge")]
#[tokio::test]
async fn unreadable_bodies_are_refused_and_counted(
    #[case] body: Vec<u8>,
    #[case] content_type: &str,
    #[case] encoding: &str,
    #[case] status: u16,
    #[case] reason: &str,
) {
    let server = server(&[]).await;
    let response = post(&server, body, content_type, encoding).await;
    assert_eq!(response.status().as_u16(), status);
    let line = format!(r#"spoor_control_refused_total{{endpoint="Metrics",reason="{reason}"}} 1"#);
    server.wait_for_metric(&line).await;
}

#[tokio::test]
async fn slow_sender_does_not_delay_others() {
    let server = server(&[]).await;
    let body = request("a", "1", vec![]);
    let (first, rest) = body.split_at(1);
    let address = server.http.trim_start_matches("http://");
    let mut slow = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: \
         application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(first).await.unwrap();
    let other = request("a", "2", vec![]);
    assert_eq!(send(&server, other).await, StatusCode::OK);
    slow.write_all(rest).await.unwrap();
    let mut response = vec![];
    slow.read_to_end(&mut response).await.unwrap();
    let response = String::from_utf8_lossy(&response);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}
