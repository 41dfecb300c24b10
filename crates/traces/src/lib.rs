//! Receives, tail-samples, stores and serves traces: OTLP in, Jaeger's query API out.
//!
//! Two verbs describe the path of a span through the crate, with one meaning at every stage:
//!
//! - **accept** a request: determine the outcome of each of its spans. [`Pipeline::accept`] scans
//!   the request and hands its spans to the tail sampler; [`TraceStore::accept`] stores them
//!   without sampling.
//! - **append** a span to a log, where it stays in a segment until that is freed. There are two
//!   logs: one for the traces that wait for their decision, one for the traces that are kept.
//!
//! A trace that has waited long enough is **decided** once: it is **kept**, and its spans are
//! appended to the store or forwarded, or it is **dropped**. [`Pipeline`] stores the traces that are
//! kept, and [`Forwarder`] forwards them.

pub mod client;
mod dependencies;
pub mod figures;
mod forward;
mod hash;
mod id;
mod keep_reason;
mod kind;
mod log;
mod memory;
mod metrics;
mod otlp_json;
mod output;
mod pipeline;
pub mod query;
mod receive;
mod receiver;
mod request_counts;
mod scan;
mod service;
mod settings;
mod span;
mod store;
mod tail;
mod totals;
pub mod tree;
mod turns;

/// The descriptors of OTLP's `TraceService`, encoded, for gRPC reflection.
pub const OTLP_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

pub use forward::{
    Backlog, Batch, Forward, ForwardedPart, Forwarder, ForwarderSettings, Hop, InvalidRings,
    JournalError, JournalId, JournalSettings, PeerSettings, Recovery, Rings, Visited,
    is_journal_file,
};
pub use id::{InvalidTraceId, TraceId};
pub use keep_reason::KeepReason;
pub use log::Evicted;
pub use memory::OutOfMemory;
pub use pipeline::Pipeline;
pub use receive::json::read_spans;
pub use receiver::AcceptError;
pub use scan::{InvalidRequest, Oversized, Rejected, ScanError, validate};
pub use settings::{AllowedOrigins, OtherSignals, PipelineSettings, ReceiveSettings, TailSettings};
pub use store::{Occupancy, Search, StoredOperation, StoredTrace, TraceStore, TraceTooLarge};
pub use tail::{PolicyDecisions, TailCount};
pub use totals::Totals;
