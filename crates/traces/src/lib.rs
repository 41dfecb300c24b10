//! Receives, tail-samples, stores and answers for traces: OTLP in, Jaeger's query API out.

pub mod dependencies;
mod id;
mod kept;
mod kind;
pub mod query;
mod store;
pub mod tree;

pub use id::{InvalidTraceId, TraceId};
pub use kept::Kept;
pub use store::{Operation, Search, Store, StoredTrace};
