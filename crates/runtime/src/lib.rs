//! The parts that Spoor's processes share: listeners with limits and draining, limits on responses
//! that are not read, decompression, TLS, gRPC health and reflection, refusals of HTTP requests, the
//! ops port, settings and their errors, the log's format and rate limit, backoff, lines of text that
//! people enter, the signals that end a process, and self-tracing.

mod backoff;
mod causes;
mod codec;
mod compression;
mod current_trace;
mod extract;
mod hints;
mod introspection;
mod line;
mod list_budget;
mod listen;
mod log_limit;
mod logs;
mod ops;
mod page_headers;
mod problem;
pub mod self_tracing;
mod settings;
mod signals;
mod size;
mod stream_limit;
mod stream_slots;
mod tls;

pub use backoff::Backoff;
pub use causes::with_causes;
pub use codec::EncodedCodec;
pub use compression::{ACCEPTED_ENCODINGS, Compression, DecompressError};
pub use current_trace::trace_id;
pub use extract::{JsonBody, PathParameters, QueryParameters, RequestBody};
pub use hints::{Api, with_hints};
pub use introspection::{Health, ReflectionError, with_introspection};
pub use line::{InvalidLine, Line};
pub use list_budget::{ListBudget, ListBudgetSpent};
pub use listen::{
    BindError, ClientsChange, ConnectionTurn, CutOff, GrpcClients, Limits, Listener, Sockets, bind,
    by_protocol, end_slow_bodies, grpc_fallback, in_turn, max_connections, raise_descriptor_limit,
};
pub use log_limit::LogLimit;
pub use logs::{DEFAULT_LOG_FILTER, LogFormat, LogLines};
pub use ops::{ops_listener, ops_router};
pub use page_headers::page_headers;
pub use problem::{Problem, add_retry_after};
pub use settings::{
    Environment, InvalidSettings, SettingError, SettingsReader, log_warnings, otel, parse_endpoint,
};
pub use signals::{cancel_on_shutdown_signal, shutdown_signal};
pub use size::parse_size;
pub use stream_limit::{HeldStream, StreamLimit, StreamPermit};
pub use stream_slots::StreamSlots;
pub use tls::{CertificateError, ServerCertificate};
pub use tokio_rustls::TlsAcceptor;
