//! Malformed requests, none of which may cause a 5xx.

use std::{net::SocketAddr, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::pair::{band_path, bands, get, ok, reviews};

/// The bytes of a request, most of them nearly valid.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let path = prop_oneof![
        Just(band_path()),
        "/bands/[0-9a-fA-F-]{36}",
        "/(bands|reviews|health)/[ -~]{0,300}",
        "/bands/(%[0-9a-f]{2}){0,40}",
        "/[!-~]{0,2000}",
    ];
    let header = prop_oneof![
        "traceparent: [0-9a-f-]{50,60}",
        "tracestate: [ -~]{0,3000}",
        "baggage: [ -~]{0,3000}",
        "content-length: [0-9-]{1,20}",
        "transfer-encoding: [a-z]{1,10}",
        "[ -~]{0,60}: [ -~]{0,500}",
    ];
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("SPOOR")];
    let headers = prop::collection::vec(header, 0..8);
    let body = prop::collection::vec(any::<u8>(), 0..2000);
    (method, path, headers, body).prop_map(|(method, path, headers, body)| {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for header in headers {
            head.push_str(&header);
            head.push_str("\r\n");
        }
        [head.as_bytes(), b"\r\n", &body].concat()
    })
}

/// The status of the response, if there is one.
async fn status(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed the connection already.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut response = Vec::new();
    let read = stream.read_to_end(&mut response);
    let _ = timeout(Duration::from_secs(10), read).await.expect("hangs");
    let status = response.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

#[test]
fn malformed_requests_cause_no_server_error() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (bands, reviews) = runtime.block_on(async {
        let reviews = reviews().await;
        (bands(reviews.address, &[]).await, reviews)
    });
    let config = ProptestConfig::with_cases(300);
    TestRunner::new(config)
        .run(&request(), |request| {
            for address in [bands.address, reviews.address] {
                let status = runtime.block_on(status(address, &request));
                prop_assert!(status.is_none_or(|status| status < 500), "{status:?}");
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(async { ok(get(bands.address, &band_path()).await).await });
}
