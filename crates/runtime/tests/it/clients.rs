//! Clients of one method, and the reasons for which their connections end.

use std::{sync::Arc, time::Duration};

use axum::Router;
use rstest::rstest;
use spoor_runtime::{ClientsChange, GrpcClients, Limits, Listener, bind};
use tokio::{
    sync::mpsc::{Receiver, channel},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::support::{DEADLINE, Running};

const METHOD: &str = "/a.Service/Method";

/// A listener that reports the clients of [`METHOD`].
fn listen(limits: Limits) -> (Running, Receiver<ClientsChange>) {
    let (changes, reported) = channel(8);
    let clients = GrpcClients::new(METHOD, move |change| {
        let _ = changes.try_send(change);
    });
    let sockets = bind("127.0.0.1:0".parse().unwrap(), "the test").unwrap();
    let address = sockets.local_addr().unwrap();
    let stop = CancellationToken::new();
    let listener = Listener::new(sockets, Router::new().fallback(async || "response"));
    let listener = listener.limits(limits).clients(Arc::new(clients));
    let running = Running {
        address,
        stop: stop.clone(),
        ended: tokio::spawn(listener.serve(DEADLINE, stop)),
    };
    (running, reported)
}

/// A client over HTTP/2 that has called a path.
async fn http2_client(running: &Running, path: &str) -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let client = client.build().unwrap();
    let url = format!("http://{}{path}", running.address);
    let response = client.get(url).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "response");
    client
}

async fn next(reported: &mut Receiver<ClientsChange>) -> Option<ClientsChange> {
    timeout(DEADLINE, reported.recv()).await.unwrap()
}

/// Stops the listener; returns the changes that were not received.
async fn remaining(running: Running, mut reported: Receiver<ClientsChange>) -> Vec<ClientsChange> {
    running.stop.cancel();
    running.ended.await.unwrap().unwrap();
    let mut changes = Vec::new();
    while let Ok(change) = reported.try_recv() {
        changes.push(change);
    }
    changes
}

#[tokio::test]
async fn end_of_the_last_client_is_reported() {
    let (running, mut reported) = listen(Limits::default());
    let first = http2_client(&running, METHOD).await;
    assert_eq!(next(&mut reported).await, Some(ClientsChange::Connected));
    let second = http2_client(&running, METHOD).await;
    drop((first, second));
    assert_eq!(next(&mut reported).await, Some(ClientsChange::Ended));
    assert!(remaining(running, reported).await.is_empty());
}

#[rstest]
#[case::idle(Duration::from_millis(20), Duration::from_millis(300))]
#[case::stopped(DEADLINE, Duration::ZERO)]
#[tokio::test]
async fn end_by_the_listener_is_not_reported(
    #[case] idle_timeout: Duration,
    #[case] delay: Duration,
) {
    let limits = Limits {
        idle_timeout,
        ..Limits::default()
    };
    let (running, mut reported) = listen(limits);
    let _client = http2_client(&running, METHOD).await;
    assert_eq!(next(&mut reported).await, Some(ClientsChange::Connected));
    sleep(delay).await;
    assert!(remaining(running, reported).await.is_empty());
}

#[tokio::test]
async fn other_connections_do_not_count() {
    let (running, reported) = listen(Limits::default());
    let url = format!("http://{}{METHOD}", running.address);
    assert!(reqwest::get(url).await.unwrap().status().is_success());
    drop(http2_client(&running, "/grpc.health.v1.Health/Check").await);
    assert!(remaining(running, reported).await.is_empty());
}
