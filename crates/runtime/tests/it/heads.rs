//! Request heads that are too long or incomplete.

use rustix::process::{Resource, getrlimit};
use spoor_runtime::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{DEADLINE, listen, read_to_end};

/// The most connections of a process that may have sent a part of a head.
const MAX_UNFINISHED_HEADS: usize = 1024;
/// Enough for both ends of the connections: a listener may have three eighths as many connections
/// as its process may have descriptors.
const MIN_DESCRIPTORS: u64 = 4 * 1024;

#[rstest::rstest]
// 1,000 trace IDs, which the query API accepts, and some headers.
#[case::long(41_000 + 5_000, "200 ")]
#[case::too_long(200_000, "431 ")]
#[tokio::test]
async fn length_of_a_head_is_bounded(#[case] bytes: usize, #[case] status: &str) {
    let query = "q".repeat(bytes);
    let head = format!("GET /?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let response = listen(Limits::default())
        .send_and_read(head.as_bytes())
        .await;
    assert!(
        response.starts_with(&format!("HTTP/1.1 {status}")),
        "{response}"
    );
}

#[tokio::test]
async fn unfinished_heads_have_a_bound() {
    if getrlimit(Resource::Nofile)
        .current
        .is_some_and(|it| it < MIN_DESCRIPTORS)
    {
        return eprintln!("SKIPPED: this process may open fewer than {MIN_DESCRIPTORS} files");
    }
    let running = listen(Limits {
        // Long enough that no connection is closed for its age.
        header_timeout: DEADLINE * 10,
        ..Limits::default()
    });
    let mut oldest = running
        .connect_and_send(b"GET / HTTP/1.1\r\nHost: local")
        .await;
    let mut others = Vec::new();
    for _ in 0..MAX_UNFINISHED_HEADS {
        others.push(
            running
                .connect_and_send(b"GET / HTTP/1.1\r\nHost: local")
                .await,
        );
    }
    read_to_end(&mut oldest).await;
    let mut newest = others.pop().unwrap();
    newest.write_all(b"host\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    let reading = newest.read_exact(&mut status);
    tokio::time::timeout(DEADLINE, reading)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    assert_eq!(reqwest::get(running.url()).await.unwrap().status(), 200);
}
