//! Bounds on one request, and on all requests together.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use reqwest::{Client, StatusCode};
use spoor_traces::{PipelineSettings, ReceiveSettings, Search};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{compressed_frame, frame, grpc, grpc_with, gzip, receiving, request};
use crate::{
    receiver::{Receiver, eventually},
    spans::{a_to_b, batch, span, text, trace_id},
};

#[tokio::test]
async fn refuses_bodies_that_are_too_large() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
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

/// While JSON is read, it takes as many bytes again, for any number of spans.
#[tokio::test]
async fn refuses_json_that_exceeds_the_memory() {
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

/// Another sender holds most of the memory with a body that it does not finish.
#[tokio::test]
async fn full_memory_is_a_temporary_error() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        max_receiving_bytes: 30_000,
        ..ReceiveSettings::default()
    }))
    .await;
    let mut unfinished = tokio::net::TcpStream::connect(receiver.http).await.unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\
                content-type: application/x-protobuf\r\n\r\n";
    unfinished.write_all(head.as_bytes()).await.unwrap();
    unfinished.write_all(&[0; 26_000]).await.unwrap();
    let body = request(
        (0..10)
            .flat_map(|number| a_to_b(number, 1, 1, true))
            .collect(),
    );
    assert!(body.len() > 4_000);
    let mut response = receiver.post(body.clone()).send().await.unwrap();
    while response.status() == StatusCode::OK {
        response = receiver.post(body.clone()).send().await.unwrap();
    }
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    let response = grpc(&receiver, frame(&body)).await;
    assert_eq!(response["grpc-status"], "8");
    assert!(response.contains_key("grpc-status-details-bin"));
    let small = request(vec![batch("a", vec![span(1, 1, 0, "x", 1, 2)])]);
    receiver.post_ok(small).await;
}

/// The index of a span takes more memory than a span of thirty bytes.
#[tokio::test]
async fn refuses_spans_whose_index_does_not_fit() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        max_receiving_bytes: 3 << 20,
        ..ReceiveSettings::default()
    }))
    .await;
    let smallest = |number: u64| Span {
        trace_id: trace_id(number),
        span_id: number.to_be_bytes().to_vec(),
        ..Span::default()
    };
    let spans = |count: u64| request(vec![batch("a", (1..=count).map(smallest).collect())]);
    let body = spans(30_000);
    assert!(body.len() < 1 << 20);
    let response = receiver.post(body.clone()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let response = grpc(&receiver, frame(&body)).await;
    assert_eq!(response["grpc-status"], "8");
    assert!(
        response["grpc-message"]
            .to_str()
            .unwrap()
            .contains("smaller")
    );
    // A retry would fail again.
    assert!(!response.contains_key("grpc-status-details-bin"));
    assert_eq!(receiver.pipeline.totals().received, 0);
    receiver.post_ok(spans(10_000)).await;
}

#[tokio::test]
async fn slow_body_times_out() {
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
    let mut response = vec![0; 32];
    connection.read_exact(&mut response).await.unwrap();
    assert!(
        response.starts_with(b"HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&response)
    );
}

#[tokio::test]
async fn stores_ten_thousand_services() {
    let store_bytes = 16 << 20;
    let receiver = Receiver::start(PipelineSettings {
        store_bytes,
        ..PipelineSettings::default()
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
            .find(&Search {
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

#[tokio::test]
async fn grpc_counts_decompressed_bytes() {
    let receiver = Receiver::start(receiving(ReceiveSettings {
        max_receiving_bytes: 1 << 20,
        ..ReceiveSettings::default()
    }))
    .await;
    let zeros = compressed_frame(&gzip(&vec![0; 8 << 20]));
    let response = grpc_with(&receiver, zeros, "gzip").await;
    assert_eq!(response["grpc-status"], "8");
    let message = response["grpc-message"].to_str().unwrap();
    assert!(message.contains("smaller"), "{message}");
    assert_eq!(grpc(&receiver, frame(&[])).await.get("grpc-status"), None);
}

/// If it were stored, a late span would be shown as a complete trace.
#[tokio::test]
async fn late_spans_of_evicted_traces_are_counted() {
    let receiver = Receiver::start(PipelineSettings {
        store_bytes: 256 << 10,
        ..PipelineSettings::default()
    })
    .await;
    let store = receiver.pipeline.store();
    let mut last = 0;
    while store.occupancy().evicted.traces == 0 {
        last += 1;
        let mut one = span(last, 1, 0, "first", 1, 2);
        one.attributes = vec![text("filler", &"x".repeat(1_000))];
        receiver.post_ok(request(vec![batch("s", vec![one])])).await;
    }
    for trace in [1, 1, last] {
        let late = span(trace, 2, 1, "late", 3, 4);
        receiver
            .post_ok(request(vec![batch("s", vec![late])]))
            .await;
    }
    let metrics = receiver.metrics();
    let line = "spoor_traces_spans_dropped_total{reason=\"late\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    assert_eq!(receiver.pipeline.totals().received, last + 3);
    receiver.assert_balanced();
}
