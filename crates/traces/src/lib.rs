//! Receives, tail-samples, stores and answers for traces: OTLP in, Jaeger's query API out.

mod dependencies;
mod id;
mod kept;
mod kind;
mod log;
mod memory;
mod metrics;
pub mod page;
mod pipeline;
pub mod query;
mod receive;
mod scan;
mod service;
mod span;
mod store;
mod tail;
pub mod tree;

/// The descriptors of OTLP's `TraceService`, encoded, for gRPC reflection.
pub const OTLP_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub use id::{InvalidTraceId, TraceId};
pub use kept::Kept;
pub use memory::OutOfMemory;
pub use pipeline::{Accepted, Pipeline, Settings};
pub use receive::{AllowedOrigins, OtherSignals, ReceiveSettings};
pub use scan::{InvalidRequest, ScanError, validate};
pub use store::{Evicted, Occupancy, Operation, Search, Store, StoredTrace, TraceTooLarge};
pub use tail::{TailSettings, Totals};
