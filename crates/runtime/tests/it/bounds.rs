//! Limits that keep one client from starving the others.

use std::time::Duration;

use axum::{Router, routing::get};
use spoor_runtime::Limits;

use crate::support::{DEADLINE, H2_PREFACE, listen, listen_with, read_to_end};

const SHORT: Duration = Duration::from_millis(50);
const HALF_A_BODY: &[u8] =
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na few bytes";

#[rstest::rstest]
#[case::nothing(b"")]
#[case::half_a_head(b"GET / HTTP/1.1\r\nHost: loc")]
#[case::half_a_preface(b"PRI * HTTP/2.0")]
#[case::no_request(H2_PREFACE)]
#[tokio::test]
async fn a_silent_connection_is_closed(#[case] sent: &[u8]) {
    let limits = Limits {
        header_timeout: SHORT,
        ..Limits::default()
    };
    listen(limits).send_and_read(sent).await;
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let limits = Limits {
        idle_timeout: SHORT,
        ..Limits::default()
    };
    let running = listen(limits);
    // The preface, and `GET /` as the static table of HPACK has it.
    let mut request = H2_PREFACE.to_vec();
    request.extend(b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x84\x86\x41\x09localhost");
    let response = running.send_and_read(&request).await;
    assert!(response.contains("hello"), "{response:?}");
}

#[tokio::test]
async fn full_listener_closes_the_longest_waiting() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let running = listen(limits);
    let mut oldest = running.connect_and_send(b"").await;
    let _other = running.connect_and_send(H2_PREFACE).await;
    let response = tokio::time::timeout(DEADLINE, reqwest::get(running.url()));
    let response = response.await.unwrap().unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
    read_to_end(&mut oldest).await;
}

#[tokio::test]
async fn busy_connection_is_not_closed() {
    let limits = Limits {
        max_connections: 1,
        idle_timeout: SHORT,
        stall_timeout: SHORT,
        ..Limits::default()
    };
    let (entered, mut entering) = tokio::sync::mpsc::channel(1);
    let never = async move || {
        entered.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/never", get(never));
    let running = listen_with(router, limits, DEADLINE);
    let busy = running
        .connect_and_send(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let entered = tokio::time::timeout(DEADLINE, entering.recv()).await;
    entered.unwrap().unwrap();
    let waiting = reqwest::get(running.url());
    let waited = tokio::time::timeout(SHORT * 10, waiting).await;
    assert!(waited.is_err(), "{waited:?}");
    assert!(
        busy.try_read(&mut [0]).is_err(),
        "the connection was closed"
    );
    drop(busy);
    let response = tokio::time::timeout(DEADLINE, reqwest::get(running.url()));
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn pipelining_connection_makes_room_for_others() {
    let limits = Limits {
        max_connections: 1,
        ..Limits::default()
    };
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/slow", get(async || tokio::time::sleep(SHORT).await));
    let running = listen_with(router, limits, DEADLINE);
    // Takes longer than the deadline.
    let requests = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    let mut pipelining = running.connect_and_send(&requests).await;
    let response = tokio::time::timeout(DEADLINE, reqwest::get(running.url()));
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
    read_to_end(&mut pipelining).await;
}

#[tokio::test]
async fn half_sent_request_makes_room_for_others() {
    let limits = Limits {
        max_requests: 1,
        ..Limits::default()
    };
    let running = listen(limits);
    let mut half = running.connect_and_send(HALF_A_BODY).await;
    // Succeeds once the handler waits for the rest of the half-sent request.
    let succeeds = async {
        loop {
            let response = reqwest::get(running.url()).await.unwrap();
            if response.status() == 200 {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, succeeds).await.unwrap();
    read_to_end(&mut half).await;
}

#[tokio::test]
async fn a_body_must_arrive_in_time() {
    let limits = Limits {
        body_timeout: SHORT,
        ..Limits::default()
    };
    let response = listen(limits).send_and_read(HALF_A_BODY).await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert!(response.contains("did not arrive within"), "{response}");
}

#[tokio::test]
async fn total_size_of_bodies_is_bounded() {
    let limits = Limits {
        max_body_bytes: 1500,
        ..Limits::default()
    };
    let running = listen(limits);
    let post = |bytes: usize| {
        let client = reqwest::Client::new();
        client.post(running.url()).body(vec![b'a'; bytes]).send()
    };
    let refused = post(1501).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    // Counted bytes are released after each request.
    for _ in 0..3 {
        assert_eq!(post(1000).await.unwrap().text().await.unwrap(), "1000");
    }
}

#[tokio::test]
async fn slow_body_makes_room_for_others() {
    let limits = Limits {
        max_body_bytes: 1500,
        ..Limits::default()
    };
    let running = listen(limits);
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1400\r\n\r\n";
    let part = format!("{head}{}", "a".repeat(1000));
    let mut slow = running.connect_and_send(part.as_bytes()).await;
    let post = || {
        let client = reqwest::Client::new();
        client.post(running.url()).body(vec![b'a'; 1000]).send()
    };
    let posting = async {
        for _ in 0..400 {
            let _ = post().await;
            tokio::time::sleep(SHORT).await;
        }
    };
    let response = tokio::select! {
        response = read_to_end(&mut slow) => response,
        () = posting => String::new(),
    };
    assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
    let succeeds = async {
        while post().await.unwrap().status() != 200 {
            tokio::time::sleep(SHORT).await;
        }
    };
    tokio::time::timeout(DEADLINE, succeeds).await.unwrap();
}

#[tokio::test]
async fn a_callers_deadline_ends_its_call() {
    let running = listen(Limits::default());
    let response = reqwest::Client::new()
        .get(running.url() + "never")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "20m")
        .send();
    let response = tokio::time::timeout(DEADLINE, response).await.unwrap();
    assert_eq!(response.unwrap().headers()["grpc-status"], "4");
}
