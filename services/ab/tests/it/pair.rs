//! Starts the services.

use std::net::SocketAddr;

use reqwest::Response;
use spoor_ab::{a, b};
use spoor_telemetry::serve::{ServeError, ServiceArgs};
use spoor_testing::args;

use crate::spans::CAPTURED;

pub use spoor_testing::json;

pub type Running = spoor_testing::Running<ServeError>;

pub async fn service_b(flags: &[&str]) -> Running {
    start_b(args(flags)).await
}

pub async fn start_b(args: ServiceArgs<b::ServiceBArgs>) -> Running {
    Running::start(args, &CAPTURED.b).await
}

pub async fn service_a(b: SocketAddr, flags: &[&str]) -> Running {
    let url = format!("--service-b=http://{b}");
    let args: ServiceArgs<a::ServiceAArgs> = args(&[flags, &[&url]].concat());
    Running::start(args, &CAPTURED.a).await
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap()
}
