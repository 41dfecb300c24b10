//! Receives, tail-samples, stores and answers for traces: OTLP in, Jaeger's query API out.

mod id;
mod kept;
mod store;

pub use id::{InvalidTraceId, TraceId};
pub use kept::Kept;
pub use store::{Operation, Search, Store, StoredTrace};
