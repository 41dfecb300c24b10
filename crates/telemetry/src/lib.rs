//! What every service links: providers, the live sampler, propagation, layers and fault injection.
//!
//! A service starts its telemetry first and shuts it down last; in between, layers do the work.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use spoor_policy::ServiceName;
//! use spoor_telemetry::{Settings, Telemetry, serve};
//! use tokio_util::sync::CancellationToken;
//! use tonic::transport::Endpoint;
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::from_env().map_err(|errors| format!("{errors:?}"))?;
//! let telemetry = Telemetry::start(settings.or_service(ServiceName::new("service-a")?))?;
//! let stop = CancellationToken::new();
//!
//! // A gRPC client whose calls are traced: give it to a generated `…Client::new(channel)`.
//! let channel = Endpoint::from_static("http://127.0.0.1:9001").connect_lazy();
//! let channel = ServiceBuilder::new().layer(telemetry.grpc_client_layer()).service(channel);
//!
//! // The operators' port, and an HTTP edge.
//! let ops = serve::bind("127.0.0.1:9464".parse()?, "--ops-address").await?;
//! let ops = tokio::spawn(serve::http(ops, telemetry.ops(), Duration::ZERO, stop.clone()));
//! let edge = telemetry.http_server(Router::new().route("/", get(|| async { "hello" })));
//! let listener = serve::bind("127.0.0.1:8080".parse()?, "--address").await?;
//! telemetry.set_ready(true);
//! serve::http(listener, edge, Duration::from_secs(10), stop).await?;
//!
//! let drained = telemetry.shutdown(Duration::from_secs(5)).await;
//! # drop((channel, ops, drained));
//! # Ok(())
//! # }
//! ```
//!
//! A gRPC server is `serve::grpc(serve::Grpc { listener, routes, services, grace }, &telemetry,
//! stop)`: it has the layer and health. Spans inside a handler are plain
//! `tracing::info_span!("heavy_calc")`, statements of a database [`database::statement`].

pub mod batch;
mod causes;
pub mod control_stream;
mod current;
pub mod database;
pub mod edge;
pub mod export;
pub mod faults;
pub mod grpc;
pub mod http;
mod logs;
pub mod metrics;
pub mod ops;
mod outgoing;
mod percent;
pub mod propagation;
mod provider;
pub mod sampler;
pub mod serve;
pub mod settings;

pub use current::trace_id;
pub use provider::{Drained, StartError, Telemetry};
pub use settings::Settings;
