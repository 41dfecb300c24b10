//! Draining a listener that stops.

use std::time::Duration;

use axum::{Router, routing::get};
use spoor_runtime::Limits;
use tokio::io::AsyncReadExt;

use crate::support::{DEADLINE, H2_PREFACE, listen, listen_with};

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let running = listen(Limits::default());
    let _silent = running.connect_and_send(b"").await;
    let mut idle = running.connect_and_send(H2_PREFACE).await;
    idle.read_exact(&mut [0; 9]).await.unwrap();
    running.stop.cancel();
    let ended = tokio::time::timeout(DEADLINE / 2, running.ended);
    ended.await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn requests_are_cut_off_after_the_grace_period() {
    let (entered, mut entering) = tokio::sync::mpsc::channel(1);
    let handler = async move || {
        entered.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let router = Router::new().route("/", get(handler));
    let running = listen_with(router, Limits::default(), Duration::from_millis(20));
    let _waiting = running
        .connect_and_send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    entering.recv().await.unwrap();
    running.stop.cancel();
    let cut_off = running.ended.await.unwrap().unwrap_err();
    assert_eq!(cut_off.requests, 1);
}
