//! The sampler: decides on whole traces by live tail rules, and forwards those that are kept.
//!
//! It stands between two pipelines of a Collector, or between services and any OTLP receiver.
//! `spoor_traces::Forwarder` gathers and decides; this crate is the program around it:
//!
//! - [`SamplerArgs`] and [`SamplerSettings`]: the options and the environment.
//! - The stream of tail rules: rules are checked, put in force, saved and then acknowledged.
//! - The sending loop: batches of kept spans go to the receiver, with retries for as long as it
//!   takes. While it is unavailable, the sampler holds what fits and then refuses requests, so that
//!   senders wait.
//! - The peers: other samplers of the same stack, among which traces are divided, and which keep
//!   the files of one that is not running.
//! - [`Sampler`]: the start, the listeners and the shutdown.

mod args;
mod custody;
mod grace;
mod in_force;
mod metrics;
mod otlp;
mod output;
mod peers;
mod phase;
mod port;
mod readiness;
mod rings;
mod rules;
mod sampler;
mod saved;
mod send;
mod senders;
mod settings;
mod stream;

pub use args::SamplerArgs;
pub use peers::PeersTokenError;
pub use rules::{InvalidRules, Rules};
pub use sampler::{Sampler, SamplerError};
pub use settings::{ControlSettings, PeersSettings, SamplerSettings};
