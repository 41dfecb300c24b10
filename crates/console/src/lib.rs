//! The console: pages that show who samples how, change it, and explain traces.
//!
//! The pages are rendered on the server and work without scripts; scripts add what moves. The console
//! knows the lab and the cluster only through [`Backend`].

mod backend;
mod layout;
mod palette;
mod text;
mod traces;

pub use backend::{Backend, BackendError, FoundTraces, Source, SourceKind, TraceSpans};
pub use traces::ListedTrace;
