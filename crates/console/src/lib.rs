//! The console: pages that show who samples how, change it, and explain traces.
//!
//! The pages are rendered on the server and work without scripts; scripts add what moves. The console
//! knows the lab and the cluster only through [`Backend`].

mod assets;
mod backend;
mod console;
mod events;
#[cfg(test)]
mod fake;
mod guard;
mod history;
mod layout;
pub mod lessons;
mod palette;
mod policies;
mod recorder;
mod renders;
mod services;
mod text;
mod tokens;
mod traces;

pub use backend::{Backend, BackendError, FoundTraces, Source, SourceKind, TraceSpans};
pub use console::{Console, ConsoleSettings};
pub use traces::ListedTrace;
