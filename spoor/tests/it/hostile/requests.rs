//! Requests over HTTP/1.

use std::net::SocketAddr;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    attempts,
    connection::{Connection, Outcome, exchange},
    listeners::Listener,
};

const ATTEMPTS: usize = 120;
const TOO_MANY_BYTES: usize = 24 << 20;

/// Every request gets a response, and none is a server error.
pub async fn arbitrary(listener: &'static Listener, address: SocketAddr) {
    let attempts: Vec<Vec<u8>> = {
        let mut runner = TestRunner::new_with_rng(Config::default(), rng(listener.name));
        let strategy = attempts::request(listener.paths);
        let mut attempt = || strategy.new_tree(&mut runner).unwrap().current();
        (0..ATTEMPTS).map(|_| attempt()).collect()
    };
    for attempt in attempts {
        let outcome = exchange(address, &attempt).await;
        // If a server responds and closes before the whole body has arrived, a reset may discard the
        // response.
        let may_close = !attempt.ends_with(b"\r\n\r\n");
        let is_expected = match outcome {
            Some(Outcome::Status(status)) => (200..500).contains(&status),
            Some(Outcome::Closed) => may_close,
            None => false,
        };
        let mut shown = attempt.escape_ascii().to_string();
        shown.truncate(1000);
        assert!(is_expected, "{}: {outcome:?} for {shown}", listener.name);
    }
}

/// The same requests in each run, but different ones for each listener.
fn rng(listener: &str) -> TestRng {
    let mut seed = [0; 32];
    let name = listener.as_bytes();
    seed[..name.len()].copy_from_slice(name);
    TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
}

/// Requests that are too large are refused, or ignored by endpoints that read no body.
pub async fn too_large(listener: &'static Listener, address: SocketAddr) {
    let path = listener.paths[0];
    let long = "x".repeat(1_000_000);
    let heads = [
        format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n"),
        format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
            "x: y\r\n".repeat(5000)
        ),
    ];
    for head in heads {
        let outcome = exchange(address, head.as_bytes()).await;
        assert!(
            matches!(outcome, Some(Outcome::Status(400..500) | Outcome::Closed)),
            "{}: {outcome:?}",
            listener.name
        );
    }
    for path in listener.paths {
        for length in [
            format!("content-length: {TOO_MANY_BYTES}"),
            "transfer-encoding: chunked".to_owned(),
        ] {
            let outcome = send_large_body(address, path, &length).await;
            assert!(
                matches!(outcome, Some(Outcome::Status(200..500) | Outcome::Closed)),
                "{} {path} {length}: {outcome:?}",
                listener.name
            );
        }
    }
}

async fn send_large_body(address: SocketAddr, path: &str, length: &str) -> Option<Outcome> {
    let mut connection = Connection::to(address).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\n{length}\r\n\r\n"
    );
    connection.send(head.as_bytes()).await;
    let part = match length.starts_with("content") {
        true => vec![b'x'; 1 << 20],
        false => [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat(),
    };
    for _ in 0..TOO_MANY_BYTES >> 20 {
        if !connection.send(&part).await {
            break;
        }
    }
    connection.outcome().await
}

/// Input that is incomplete or not valid HTTP causes no server error except 505, and no connection
/// waits forever.
pub async fn broken(listener: &'static Listener, address: SocketAddr) {
    let noise: Vec<u8> = (0..5000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let broken: [&[u8]; 16] = [
        b"\0",
        b"\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\nhost x\n\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &noise,
    ];
    for bytes in broken {
        let mut connection = Connection::to(address).await;
        connection.send(bytes).await;
        connection.finish().await;
        let outcome = connection.outcome().await;
        assert!(
            matches!(
                outcome,
                Some(Outcome::Status(200..500 | 505) | Outcome::Closed)
            ),
            "{}: {outcome:?} for {}",
            listener.name,
            bytes.escape_ascii()
        );
    }
}
