//! Telemetry for services: providers, the live sampler, propagation, layers and fault injection.
//!
//! A service starts its telemetry first and shuts it down last.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use spoor_policy::ServiceName;
//! use spoor_telemetry::{Telemetry, TelemetrySettings, serve::{GRACE, ListenAddresses, Server}};
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = TelemetrySettings::from_env()?;
//! let telemetry = Telemetry::start(settings.or_service(ServiceName::new("service-a")?))?;
//! let stop = CancellationToken::new();
//!
//! // A gRPC client whose calls are traced: give it to a generated `…Client::new(channel)`.
//! let channel = telemetry.grpc_channel(&"http://127.0.0.1:9001".parse()?);
//!
//! // An HTTP edge, and its ops port.
//! let addresses = ListenAddresses {
//!     listen: Some("127.0.0.1:8080".parse()?),
//!     ops_listen: Some("127.0.0.1:9464".parse()?),
//! };
//! let server = Server::bind(addresses, telemetry.clone(), stop)?;
//! let router = Router::new().route("/", get(|| async { "hello" }));
//! server.serve_http(router, GRACE).await?;
//!
//! let drained = telemetry.shutdown(Duration::from_secs(5)).await;
//! # drop((channel, drained));
//! # Ok(())
//! # }
//! ```
//!
//! A gRPC server is `server.serve_grpc(serve::Grpc::new(service, DESCRIPTORS))`: it has the layer,
//! health and reflection. Spans inside a handler are plain
//! `tracing::info_span!("heavy_calc")`, and those of database statements are made by
//! [`database::statement`].

mod attributes;
pub mod batch;
pub mod control_stream;
mod credentials;
pub mod database;
pub mod duration;
pub mod edge;
mod exchange;
pub mod export;
pub mod faults;
pub mod grpc;
pub mod http;
pub mod metrics;
mod outgoing;
mod peer;
mod percent;
pub mod propagation;
mod provider;
pub mod sampler;
pub mod serve;
pub mod settings;
mod traced;

pub use peer::{InvalidPeerUrl, PeerUrl};
pub use provider::{SpanOutcomes, Telemetry, TelemetryStartError};
pub use settings::TelemetrySettings;
pub use spoor_runtime::{Backoff, InvalidLine, Line, trace_id};
