//! Starts services and reads their responses.

use std::net::SocketAddr;

use clap::Parser;
use reqwest::Response;
use serde_json::Value;
use spoor_telemetry::{
    Telemetry,
    serve::{Program, Server, ServiceArgs},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ports;

/// The flags of a service on the command line.
#[derive(Parser)]
struct Cli<A: clap::Args> {
    #[command(flatten)]
    args: ServiceArgs<A>,
}

/// A service's arguments, with free ports. The port that it listens on stays free after it has
/// ended, so that another service can be started there.
pub fn args<A: clap::Args>(flags: &[&str]) -> ServiceArgs<A> {
    let listen = format!("--listen={}", unused_address());
    let ports = [listen.as_str(), "--ops-listen=127.0.0.1:0"];
    args_at(&[ports.as_slice(), flags].concat())
}

/// A service's arguments, including its ports.
pub fn args_at<A: clap::Args>(flags: &[&str]) -> ServiceArgs<A> {
    Cli::parse_from([&"service"].into_iter().chain(flags)).args
}

/// An address where nothing listens, unless the test binds it.
#[must_use]
pub fn unused_address() -> SocketAddr {
    let [address] = ports::free();
    address
}

/// A service that runs until this is dropped.
#[derive(Debug)]
pub struct Running<E> {
    /// Its address.
    pub address: SocketAddr,
    /// The address of its metrics and health.
    pub ops: SocketAddr,
    /// Stops the service.
    pub stop: CancellationToken,
    /// The task of the service, with its result.
    pub task: JoinHandle<Result<(), E>>,
}

impl<E: Send + 'static> Running<E> {
    /// Starts a service with its [`args`].
    pub async fn start<P>(service: ServiceArgs<P>, telemetry: &Telemetry) -> Self
    where
        P: Program<Error = E> + clap::Args + Send + 'static,
    {
        let stop = CancellationToken::new();
        let server = Server::bind(service.listen, telemetry.clone(), stop.clone()).unwrap();
        Self {
            address: server.listener.local_addr().unwrap(),
            ops: server.ops.local_addr().unwrap(),
            stop,
            task: tokio::spawn(service.program.serve(server)),
        }
    }
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The status and JSON body of a response. Checks that a failure is a problem document.
pub async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let expected = if status < 400 {
        "application/json"
    } else {
        "application/problem+json"
    };
    let body = response.text().await.unwrap();
    assert_eq!(kind, expected, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    if status >= 400 {
        assert_eq!(body["status"], status, "{body}");
    }
    (status, body)
}
