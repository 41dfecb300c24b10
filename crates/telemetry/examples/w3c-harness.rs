//! The service for the public W3C Trace Context test suite: an HTTP edge that calls the requested
//! URLs, through the same layers as every service here.
//!
//! `cargo run -p spoor-telemetry --example w3c-harness -- --listen 127.0.0.1:5000`, then in
//! `test/` of <https://github.com/w3c/trace-context>:
//! `SPEC_LEVEL=2 python test.py http://127.0.0.1:5000/test`
//!
//! The suite calls from this machine and expects its context to be trusted, so the loopback
//! networks are trusted by default (`SPOOR_TRUSTED_PEERS`). Nothing is exported by default
//! (`OTEL_TRACES_EXPORTER`).

use std::{env, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use serde_json::{Value, json};
use spoor_policy::ServiceName;
use spoor_telemetry::{Telemetry, TelemetrySettings, http::HttpClientLayer, serve};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer, ServiceExt};

const LOOPBACK: &str = "127.0.0.0/8,::1/128";
const DEADLINE: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(2);

/// A server for the W3C Trace Context test suite.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 takes any.
    #[arg(long, default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
}

/// A call to make.
#[derive(Deserialize)]
struct Call {
    #[serde(with = "http_uri")]
    url: Uri,
    /// The request's body.
    #[serde(default)]
    arguments: Value,
}

type Caller = spoor_telemetry::http::HttpClient<Client<HttpConnector, Full<Bytes>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = TelemetrySettings::read(variable)?;
    let telemetry = Telemetry::start(settings.or_service(ServiceName::new("w3c-harness")?))?;
    let router = telemetry.http_server(router(&telemetry.http_client_layer()));
    let listener = serve::bind(args.listen, "--listen")?;
    println!("listening on http://{}/test", listener.local_addr()?);

    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            let _ = tokio::signal::ctrl_c().await;
            stop.cancel();
        }
    });
    serve::http(listener, router, GRACE, stop).await?;
    telemetry.shutdown(GRACE).await;
    Ok(())
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().or_else(|| match name {
        "SPOOR_TRUSTED_PEERS" => Some(LOOPBACK.to_owned()),
        "OTEL_TRACES_EXPORTER" => Some("none".to_owned()),
        _ => None,
    })
}

fn router(layer: &HttpClientLayer) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let call_all = || post(call_all);
    Router::new()
        .route("/", call_all())
        .route("/{*any}", call_all())
        .with_state(Arc::new(layer.layer(client)))
}

async fn call_all(State(caller): State<Arc<Caller>>, Json(calls): Json<Vec<Call>>) -> Response {
    for call in calls {
        let url = call.url.clone();
        let called = timeout(DEADLINE, make((*caller).clone(), call)).await;
        let error: BoxError = match called {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(late) => late.into(),
        };
        return bad_gateway(&url, &error);
    }
    Json(Value::Null).into_response()
}

async fn make(caller: Caller, call: Call) -> Result<(), BoxError> {
    let body = Full::from(serde_json::to_vec(&call.arguments)?);
    let request = Request::post(call.url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)?;
    let response = caller.oneshot(request).await?;
    // Read to its end, so that the connection can be reused.
    response.into_body().collect().await?;
    Ok(())
}

fn bad_gateway(url: &Uri, error: &BoxError) -> Response {
    let status = StatusCode::BAD_GATEWAY;
    let problem = json!({
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": status.as_u16(),
        "detail": format!("{url}: {error}"),
    });
    let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, content_type, problem.to_string()).into_response()
}

/// A [`Uri`] as text.
mod http_uri {
    use http::Uri;
    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uri, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
