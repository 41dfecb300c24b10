//! Starts the services.

use std::net::SocketAddr;

use reqwest::Response;
use spoor_ab::{a, b};
use spoor_telemetry::serve::ServeError;
use spoor_testing::{addresses, args};

use crate::spans::CAUGHT;

pub use spoor_testing::json;

pub type Running = spoor_testing::Running<ServeError>;

pub async fn service_b(flags: &[&str]) -> Running {
    start_b(args(flags)).await
}

pub async fn start_b(args: b::Args) -> Running {
    let service = b::ServiceB::bind(args).await.unwrap();
    Running::start(addresses(&service.ports), |stop| {
        service.serve(&CAUGHT.b, stop)
    })
}

pub async fn service_a(b: SocketAddr, flags: &[&str]) -> Running {
    let url = format!("--service-b=http://{b}");
    let service = a::ServiceA::bind(args(&[flags, &[&url]].concat()))
        .await
        .unwrap();
    Running::start(addresses(&service.ports), |stop| {
        service.serve(&CAUGHT.a, stop)
    })
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap()
}
