//! Starts the services.

use std::net::SocketAddr;

use clap::Parser;
use reqwest::Response;
use serde_json::Value;
use spoor_ab::{a, b};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::spans::CAUGHT;

/// Flags as the command line has them.
#[derive(Parser)]
struct Cli<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

/// A service on free ports; it ends with this value.
pub struct Running<E> {
    pub address: SocketAddr,
    pub ops: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<Result<(), E>>,
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn args<A: clap::Args>(flags: &[&str]) -> A {
    let ports = [
        "service",
        "--listen=127.0.0.1:0",
        "--ops-listen=127.0.0.1:0",
    ];
    args_at(&ports.iter().chain(flags).copied().collect::<Vec<_>>())
}

/// With ports of one's own.
pub fn args_at<A: clap::Args>(line: &[&str]) -> A {
    Cli::parse_from(line).args
}

pub async fn service_b(flags: &[&str]) -> Running<b::RunError> {
    start_b(args(flags)).await
}

/// With ports of one's own.
pub async fn service_b_at(line: &[&str]) -> Running<b::RunError> {
    start_b(args_at(line)).await
}

async fn start_b(args: b::Args) -> Running<b::RunError> {
    let service = b::ServiceB::bind(args).await.unwrap();
    let (address, ops) = (service.address().unwrap(), service.ops_address().unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let stop = stop.clone();
        async { service.serve(&CAUGHT.b, stop).await }
    });
    Running {
        address,
        ops,
        stop,
        task,
    }
}

pub async fn service_a(b: SocketAddr, flags: &[&str]) -> Running<a::RunError> {
    let url = format!("--service-b=http://{b}");
    let flags: Vec<&str> = flags.iter().copied().chain([url.as_str()]).collect();
    let service = a::ServiceA::bind(args(&flags)).await.unwrap();
    let (address, ops) = (service.address().unwrap(), service.ops_address().unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let stop = stop.clone();
        async { service.serve(&CAUGHT.a, stop).await }
    });
    Running {
        address,
        ops,
        stop,
        task,
    }
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap()
}

/// The answer's status and body; failures must be problem documents.
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
    assert_eq!(kind, expected);
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    if status >= 400 {
        assert_eq!(body["status"], status, "{body}");
    }
    (status, body)
}
