//! gRPC: malformed frames and messages.

use std::{future::poll_fn, net::SocketAddr, sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use tokio::time::timeout;
use tonic::{
    body::Body,
    client::GrpcService,
    transport::{Channel, Endpoint},
};

use super::{connection::Connection, listeners::Listener};

/// The time to wait for a response on a stream that may stay open.
const STREAM_WAIT: Duration = Duration::from_secs(1);

/// Each call ends with a gRPC code or an HTTP status, except streams that stay open.
pub async fn malformed(listener: &'static Listener, address: SocketAddr) {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut channel = endpoint.connect().await.unwrap();
    let unknown = ["/", "/x", "/grpc.health.v1.Health/Nothing", "/%00/%ff"];
    for path in listener.paths.iter().chain(&unknown) {
        for (content_type, encoding, body) in CALLS.iter() {
            let request = Request::post(*path)
                .header("content-type", *content_type)
                .header("te", "trailers")
                .header("grpc-encoding", *encoding)
                .body(Body::new(Full::new(body.clone())))
                .unwrap();
            let ended = timeout(STREAM_WAIT, ended(&mut channel, request)).await;
            assert!(
                !matches!(ended, Ok(Ended::Broken(_))),
                "{} {path}: {ended:?} for {encoding} {}",
                listener.name,
                body[..body.len().min(40)].escape_ascii()
            );
        }
    }
}

#[derive(Debug)]
enum Ended {
    /// Ended with a gRPC code, or an HTTP status from 400 to 499.
    Responded,
    /// Ended without either.
    Broken(#[allow(dead_code, reason = "shown")] String),
}

async fn ended(channel: &mut Channel, request: Request<Body>) -> Ended {
    let ready = poll_fn(|context| GrpcService::<Body>::poll_ready(channel, context)).await;
    if let Err(error) = ready {
        return Ended::Broken(format!("{error:?}"));
    }
    let response = match GrpcService::call(channel, request).await {
        Ok(response) => response,
        Err(error) => return Ended::Broken(format!("{error:?}")),
    };
    let (head, body) = response.into_parts();
    let has_status = |headers: &HeaderMap| headers.contains_key("grpc-status");
    if has_status(&head.headers) || head.status.is_client_error() {
        return Ended::Responded;
    }
    match body.collect().await {
        Ok(body) if body.trailers().is_some_and(has_status) => Ended::Responded,
        other => Ended::Broken(format!("{head:?} {other:?}")),
    }
}

/// Content type, encoding, body.
static CALLS: LazyLock<Vec<(&str, &str, Bytes)>> = LazyLock::new(|| {
    let grpc = "application/grpc";
    let noise: Vec<u8> = (0..2000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8)
        .collect();
    vec![
        (grpc, "identity", Bytes::new()),
        (grpc, "identity", message(b"")),
        (grpc, "identity", message(b"\x0a\xff\xff\xff\xff\x0f")),
        (
            grpc,
            "identity",
            message(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ),
        (grpc, "identity", message(&b"\x0b".repeat(10_000))),
        (grpc, "identity", message(&b"\x0a\x02\xc3\x28".repeat(100))),
        (grpc, "identity", message(&noise)),
        (grpc, "identity", message(&vec![0; 6 << 20])),
        (grpc, "identity", Bytes::from(noise)),
        (grpc, "identity", Bytes::from_static(b"\0\xff\xff\xff\xff")),
        (grpc, "identity", Bytes::from_static(b"\0\0\0\0\x09half")),
        (grpc, "identity", Bytes::from_static(b"\x07\0\0\0\0")),
        (grpc, "gzip", Bytes::from_static(b"\x01\0\0\0\x04oops")),
        (grpc, "gzip", zeros(128 << 20)),
        (grpc, "brotli", Bytes::from_static(b"\x01\0\0\0\x04oops")),
        ("application/json", "identity", Bytes::from_static(b"{}")),
        ("text/html", "identity", message(b"")),
    ]
});

fn message(bytes: &[u8]) -> Bytes {
    framed(0, bytes)
}

fn framed(flag: u8, bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], bytes].concat().into()
}

/// Gzip-compressed zeros, in about 1/160 of their size: one zero, then back-references of 258 bytes.
fn zeros(count: usize) -> Bytes {
    const ONE_ZERO: &str = "00110000";
    const AGAIN_258: &str = "1100010100000";
    const END: &str = "0000000";
    let bits = ["1", "10", ONE_ZERO]
        .into_iter()
        .chain(std::iter::repeat_n(AGAIN_258, count / 258))
        .chain([END])
        .flat_map(str::bytes);
    let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let (mut byte, mut used) = (0, 0);
    for bit in bits {
        byte |= (bit - b'0') << used;
        used += 1;
        if used == 8 {
            gzip.push(byte);
            (byte, used) = (0, 0);
        }
    }
    gzip.push(byte);
    framed(1, &gzip)
}

/// Bytes that are not HTTP/2, and HTTP/2 that violates the protocol, end the connection.
pub async fn invalid_http2(listener: &'static Listener, address: SocketAddr) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [
            preface.as_slice(),
            b"\0\0\0\x04\0\0\0\0\0",
            &length[1..],
            &[kind, flags, 0, 0, 0, stream],
            payload,
        ]
        .concat()
    };
    let broken: [Vec<u8>; 9] = [
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        preface[..10].to_vec(),
        [preface.as_slice(), &[0xff; 4096]].concat(),
        frame(0, 0, 1, b"data before headers"),
        frame(1, 5, 1, &[0xff; 300]),
        frame(1, 5, 2, b""),
        frame(8, 0, 0, &[0xff; 4]),
        frame(9, 4, 1, &[0x82; 100]),
    ];
    for bytes in broken {
        let mut connection = Connection::to(address).await;
        connection.send(&bytes).await;
        connection.finish().await;
        assert!(
            connection.closes().await,
            "{}: stays open after {}",
            listener.name,
            bytes.escape_ascii()
        );
    }
}
