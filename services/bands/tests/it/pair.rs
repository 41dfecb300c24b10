//! Both services, whose spans are collected.

use std::{net::SocketAddr, sync::LazyLock};

use reqwest::{Client, Response};
use serde_json::Value;
use spoor_bands::{bands, reviews};
use spoor_telemetry::{
    Telemetry,
    serve::{ServeError, ServiceArgs},
};
use spoor_testing::{Spans, args, args_at};

pub use spoor_testing::json;

pub type Running = spoor_testing::Running<ServeError>;

/// The telemetry of both services, and the spans they export.
pub struct Captured {
    bands: Telemetry,
    reviews: Telemetry,
    pub spans: Spans,
}

/// Shared by all tests, since a process has one subscriber. It is that of bands, which logs missing
/// reviews.
pub static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let spans = Spans::default();
    let (bands, reviews) = (spans.telemetry("bands"), spans.telemetry("reviews"));
    tracing::subscriber::set_global_default(bands.subscriber().unwrap()).unwrap();
    Captured {
        bands,
        reviews,
        spans,
    }
});

pub async fn reviews() -> Running {
    let args: ServiceArgs<reviews::ReviewsArgs> = args(&[]);
    Running::start(args, &CAPTURED.reviews).await
}

pub async fn reviews_at(address: SocketAddr) -> Running {
    let listen = format!("--listen={address}");
    let args: ServiceArgs<reviews::ReviewsArgs> = args_at(&[&listen, "--ops-listen=127.0.0.1:0"]);
    Running::start(args, &CAPTURED.reviews).await
}

pub async fn bands(reviews: SocketAddr, flags: &[&str]) -> Running {
    let url = format!("--reviews=http://{reviews}");
    let args: ServiceArgs<bands::BandsArgs> = args(&[flags, &[&url]].concat());
    Running::start(args, &CAPTURED.bands).await
}

pub async fn get(address: SocketAddr, path: &str) -> Response {
    get_with(address, path, &[]).await
}

pub async fn get_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Client::new().get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// The path of a band that exists.
pub fn band_path() -> String {
    format!("/bands/{}", bands::ids().next().unwrap())
}

/// The body of a response, and its trace ID.
pub async fn ok(response: Response) -> (Value, String) {
    let id = response.headers()["x-trace-id"].to_str().unwrap();
    let id = id.to_owned();
    let (status, body) = json(response).await;
    assert_eq!(status, 200, "{body}");
    (body, id)
}
