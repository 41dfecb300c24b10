use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status};
use serde_json::Value;
use spoor_testing::{only_span, unused_address};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

use crate::pair::{CAPTURED, Running, band_path, bands, get, ok, reviews_at};

async fn result(bands: &Running) -> (Value, String) {
    let (body, id) = ok(get(bands.address, &band_path()).await).await;
    assert_eq!(body["result"]["name"], "The Tail Samplers");
    (body["result"].clone(), id)
}

#[track_caller]
fn assert_degraded(result: &Value, why: &str) {
    assert_eq!(result["reviews"], Value::Null);
    let expected = format!("reviews is unavailable: {why}");
    assert_eq!(result["degraded"].as_str(), Some(expected.as_str()));
}

/// Accepts connections and sends this response to each request, or none.
async fn peer(response: Option<&'static str>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let Some(response) = response else { continue };
                    if stream.write_all(response.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reviews_bands_are_degraded() {
    let bands = bands(unused_address(), &[]).await;
    let (result, id) = result(&bands).await;
    assert_degraded(&result, "connection failed");
    let spans = CAPTURED.spans.trace(&id, 3).await;
    let edge = only_span(&spans, "GET /bands/{uuid}", &SpanKind::Server);
    let exceptions = edge.events.iter().filter(|event| event.name == "exception");
    assert_eq!(exceptions.count(), 2, "{edge:#?}");
    for call in spans
        .iter()
        .filter(|span| span.span_kind == SpanKind::Client)
    {
        let Status::Error { description } = &call.status else {
            panic!("{call:#?}")
        };
        assert!(description.contains("refused"), "{description}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bands_recovers_with_reviews() {
    let address = unused_address();
    let bands = bands(address, &[]).await;
    assert!(result(&bands).await.0["reviews"].is_null());
    for _ in 0..2 {
        let mut reviews = reviews_at(address).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while result(&bands).await.0["reviews"].is_null() {
            assert!(Instant::now() < deadline, "never connected again");
        }
        reviews.stop.cancel();
        (&mut reviews.task).await.unwrap().unwrap();
        assert!(result(&bands).await.0["reviews"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_cut_off_at_the_deadline() {
    let bands = bands(peer(None).await, &["--deadline=50ms"]).await;
    let (result, id) = result(&bands).await;
    assert_degraded(&result, "no response within 50ms");
    for call in CAPTURED.spans.trace(&id, 3).await {
        if call.span_kind == SpanKind::Client {
            let why = Status::error("no response within 50ms");
            assert_eq!(call.status, why);
        }
    }
}

#[rstest::rstest]
#[case::unavailable(
    "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    "HTTP status 503 Service Unavailable"
)]
#[case::not_a_review(
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "the response is not a review"
)]
#[case::too_long(
    "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n{}",
    "response longer than 65536 bytes"
)]
#[case::truncated(
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
    "no response within 50ms"
)]
#[case::not_http("SSH-2.0-OpenSSH\r\n\r\n", "connection failed")]
#[tokio::test(flavor = "multi_thread")]
async fn invalid_reviews_degrade_a_band(#[case] response: &'static str, #[case] why: &str) {
    let bands = bands(peer(Some(response)).await, &["--deadline=50ms"]).await;
    assert_degraded(&result(&bands).await.0, why);
}
