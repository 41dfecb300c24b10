//! Requests that never end.

use std::net::SocketAddr;

use super::{
    connection::{Connection, Outcome, exchange},
    listeners::Listener,
};

const CALLERS: usize = 16;

/// Unfinished requests delay no other requests, and eventually get a response or are disconnected.
pub async fn unfinished(listener: &'static Listener, address: SocketAddr) {
    let half_a_head = format!(
        "GET {} HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        listener.paths[0]
    );
    let half_a_body: Vec<String> = listener
        .paths
        .iter()
        .map(|path| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{{\"tit"
            )
        })
        .collect();
    let mut callers = Vec::new();
    for begun in std::iter::repeat_n(&half_a_head, CALLERS).chain(&half_a_body) {
        let mut caller = Connection::to(address).await;
        caller.send(begun.as_bytes()).await;
        callers.push((begun, caller));
    }
    let good = format!(
        "GET {} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n",
        listener.paths[0]
    );
    let outcome = exchange(address, good.as_bytes()).await;
    assert!(
        matches!(outcome, Some(Outcome::Status(200..500))),
        "{}: {outcome:?}",
        listener.name
    );
    for (begun, caller) in callers {
        let outcome = caller.outcome().await;
        assert!(
            outcome.is_some(),
            "{}: waits forever after {begun}",
            listener.name
        );
    }
}
