//! Listeners on free ports, and clients that send arbitrary bytes.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use spoor_runtime::{CutOff, Limits, Listener, bind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Long enough that only a failing test waits for it.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// An HTTP/2 client's first bytes: the preface and empty settings.
pub const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A listener that runs until it is stopped.
pub struct Running {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub ended: JoinHandle<Result<(), CutOff>>,
}

pub fn listen_with(router: Router, limits: Limits, grace: Duration) -> Running {
    let sockets = bind("127.0.0.1:0".parse().unwrap(), "the test").unwrap();
    let address = sockets.local_addr().unwrap();
    let stop = CancellationToken::new();
    let listener = Listener::new(sockets, router).limits(limits);
    Running {
        address,
        stop: stop.clone(),
        ended: tokio::spawn(listener.serve(grace, stop)),
    }
}

pub fn listen(limits: Limits) -> Running {
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/", post(async |body: Bytes| body.len().to_string()))
        .route("/never", get(std::future::pending::<()>));
    listen_with(router, limits, DEADLINE)
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Opens a connection and sends bytes.
    pub async fn connect_and_send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Opens a connection, sends bytes, and returns everything received until the listener closes
    /// it.
    pub async fn send_and_read(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect_and_send(bytes).await;
        read_to_end(&mut stream).await
    }
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let reading = stream.read_to_end(&mut all);
    // An error is ignored, since a reset also ends the connection.
    let _ = tokio::time::timeout(DEADLINE, reading)
        .await
        .expect("the listener left the connection open");
    String::from_utf8_lossy(&all).into_owned()
}
