//! Responses that their peers do not read.

use axum::{Router, body::Bytes, routing::get};
use spoor_runtime::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{DEADLINE, Running, listen_with, read_to_end};

/// More than the 64 MiB of unread responses that a process allows.
const EXCESSIVE_BYTES: usize = 80 << 20;
/// The streams over which the unread bytes are spread.
const STREAMS: u8 = 5;
/// Small enough that many reads are needed, each of which makes room in the socket's buffers.
const SLOW_READ_BYTES: usize = 64 << 10;

fn listen() -> Running {
    let long = Bytes::from(vec![b'a'; EXCESSIVE_BYTES]);
    let part = long.slice(..EXCESSIVE_BYTES / usize::from(STREAMS));
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/part", get(async move || part.clone()))
        .route("/long", get(async move || long.clone()));
    listen_with(router, Limits::default(), DEADLINE)
}

/// An HTTP/2 connection that requests parts on several streams, each with this flow-control window.
async fn unread_parts(running: &Running, window: u8) -> TcpStream {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with INITIAL_WINDOW_SIZE.
    sent.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window]);
    for stream in (1..).step_by(2).take(usize::from(STREAMS)) {
        // `GET`, `http`, and two literals with names from the static table of HPACK.
        let head = b"\x82\x86\x44\x05/part\x41\x09localhost";
        let len = u8::try_from(head.len()).unwrap();
        // HEADERS with END_HEADERS and END_STREAM.
        sent.extend([0, 0, len, 1, 5, 0, 0, 0, stream]);
        sent.extend(head);
    }
    running.connect_and_send(&sent).await
}

async fn get_length(running: &Running, path: &str) -> usize {
    let response = reqwest::get(running.url() + path);
    let response = tokio::time::timeout(DEADLINE, response).await.unwrap();
    response.unwrap().bytes().await.unwrap().len()
}

#[rstest::rstest]
// hyper holds the parts until the window opens.
#[case::a_closed_window(0)]
// The parts are in the send buffers of HTTP/2.
#[case::a_window_of_a_byte(1)]
#[tokio::test]
async fn unread_responses_close_their_connection(#[case] window: u8) {
    let running = listen();
    let mut unread = unread_parts(&running, window).await;
    read_to_end(&mut unread).await;
    let part = EXCESSIVE_BYTES / usize::from(STREAMS);
    assert_eq!(get_length(&running, "part").await, part);
}

#[tokio::test]
async fn unread_responses_do_not_delay_the_shutdown() {
    let (entered, mut entering) = tokio::sync::mpsc::channel(usize::from(STREAMS));
    let handler = async move || {
        entered.send(()).await.unwrap();
        Bytes::from(vec![b'a'; 1 << 20])
    };
    let router = Router::new().route("/part", get(handler));
    let running = listen_with(router, Limits::default(), DEADLINE * 2);
    let _unread = unread_parts(&running, 0).await;
    for _ in 0..STREAMS {
        entering.recv().await.unwrap();
    }
    running.stop.cancel();
    let ended = tokio::time::timeout(DEADLINE, running.ended);
    ended.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn response_that_is_read_is_not_cut_off() {
    let running = listen();
    let mut reader = running
        .connect_and_send(b"GET /long HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await;
    let mut piece = vec![0; SLOW_READ_BYTES];
    let mut read = reader.read(&mut piece).await.unwrap();
    // Meanwhile, other clients send requests, and one of them reads nothing.
    let mut unread = unread_parts(&running, 1).await;
    let mut others = Box::pin(async {
        read_to_end(&mut unread).await;
        get_length(&running, "").await
    });
    let length = loop {
        tokio::select! {
            length = &mut others => break length,
            more = reader.read(&mut piece) => read += more.unwrap(),
        }
    };
    assert_eq!(length, "hello".len());
    assert!(
        read < EXCESSIVE_BYTES,
        "all of it was read before the others were served"
    );
    drop(others);
    let mut rest = Vec::new();
    read += reader.read_to_end(&mut rest).await.unwrap();
    assert!(read > EXCESSIVE_BYTES, "cut off after {read} bytes");
    let _ = unread.shutdown().await;
}
