use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use spoor_telemetry::serve::{self, ServeError};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::sync::CancellationToken;

use crate::fake::DEADLINE;

/// A listener on any port.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves a router in the background, on any port.
pub async fn http(router: Router, stop: &CancellationToken) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(serve::http(listener, router, DEADLINE, stop.clone()));
    address
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let taken = serve::bind("127.0.0.1:0".parse().unwrap(), "x").unwrap();
    let address = taken.local_addr().unwrap();
    let error = serve::bind(address, "--address").unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot listen on {address} (set by --address): ")),
        "{error}"
    );
}

#[tokio::test]
async fn request_in_flight_is_completed_after_the_stop() {
    let (entered, entering) = oneshot::channel();
    let (leave, leaving) = oneshot::channel::<()>();
    let gate = std::sync::Mutex::new(Some((entered, leaving)));
    let gate = std::sync::Arc::new(gate);
    let router = Router::new().route(
        "/",
        get(move || async move {
            let (entered, leaving) = gate.lock().unwrap().take().unwrap();
            entered.send(()).unwrap();
            leaving.await.unwrap();
            "done"
        }),
    );
    let stop = CancellationToken::new();
    let (listener, address) = listener().await;
    let serving = tokio::spawn(serve::http(listener, router, DEADLINE, stop.clone()));
    let request = tokio::spawn(reqwest::get(format!("http://{address}/")));
    entering.await.unwrap();
    stop.cancel();
    leave.send(()).unwrap();
    assert_eq!(
        request.await.unwrap().unwrap().text().await.unwrap(),
        "done"
    );
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn requests_are_cut_off_after_the_grace_period() {
    let (entered, entering) = oneshot::channel();
    let entered = std::sync::Mutex::new(Some(entered));
    let entered = std::sync::Arc::new(entered);
    let router = Router::new().route(
        "/",
        get(move || async move {
            entered.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
        }),
    );
    let stop = CancellationToken::new();
    let (listener, address) = listener().await;
    let grace = Duration::from_millis(20);
    let serving = tokio::spawn(serve::http(listener, router, grace, stop.clone()));
    let request = tokio::spawn(reqwest::get(format!("http://{address}/")));
    entering.await.unwrap();
    stop.cancel();
    assert!(matches!(
        serving.await.unwrap(),
        Err(ServeError::CutOff { .. })
    ));
    request.abort();
}
