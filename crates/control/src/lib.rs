//! The control plane: serves sampling policies to SDKs and tracks which ones have them in force.
//!
//! [`Control::publish`] puts one table in force. Clients reach it at four endpoints: Jaeger's remote
//! sampling over HTTP ([`Control::sampling_http`]) and gRPC ([`Control::sampling_grpc`]), which only
//! respond; Spoor's own stream ([`Control::policy_stream`]), which pushes plans and receives
//! acknowledgements and counts; and OTLP metrics ([`Control::metrics_http`]) that unmodified SDKs
//! report. [`Control::evidence`] combines all of this for each policy.
//!
//! No strategy is served before the first publication: a client of a control plane that has just
//! started must not mistake "not known yet" for "no policy".
//!
//! # Layers
//!
//! Each module uses only modules further up in this table.
//!
//! | layer | modules |
//! |---|---|
//! | values | `counts`, `instance`, `identity`, `coverage`, `evidence`, `reservation` |
//! | settings | `settings` |
//! | plans | `served_plan`, then `fault`, `jaeger_strategy`, `history`, `publication` |
//! | tallies | `window`, then `tally`, then `tallies` |
//! | clients without a stream | `pollers`, `reporters` |
//! | one process | `ledger`, `lending`, then `metrics`, then `record` |
//! | instances | `processes`, then `service`, then `services` |
//! | the control plane | `control` |
//! | clients | `session`, then `endpoints` |
//!
//! # Lock order
//!
//! A thread that holds a lock of this list may take only locks further down:
//!
//! 1. the sequence of versions (`control`): held while plans are served, so that a service never
//!    receives versions out of order;
//! 2. the list of services (`services`): held for writing while a service is created, so that a
//!    concurrent publication does not miss it;
//! 3. the faults of all services (`control`);
//! 4. the state of one service (`service`), never of two;
//! 5. the tallies (`tallies`).
//!
//! The locks of `pollers`, `reporters`, `metrics`, the disconnected instances and the watch channels
//! come last: no other lock is taken while one of them is held. No lock is held across an `await`.

mod control;
mod counts;
mod coverage;
mod endpoints;
mod evidence;
mod fault;
mod history;
mod identity;
mod instance;
mod jaeger_strategy;
mod ledger;
mod lending;
mod metrics;
mod pollers;
mod processes;
mod publication;
mod record;
mod reporters;
mod reservation;
mod served_plan;
mod service;
mod services;
mod session;
mod settings;
mod tallies;
mod tally;
mod window;

pub use control::{Control, convergence::Convergence, evidence::EvidenceReader};
pub use counts::Counts;
pub use endpoints::stream::PolicyStreamService;
pub use evidence::{
    ClientCounts, CountSource, Evidence, NotCurrent, NotCurrentReason, ObservedRate,
    OperationEvidence, ServiceEvidence,
};
pub use fault::ServiceFaults;
pub use identity::{AnyoneOnLoopback, Caller, Denied, Identify, Identity};
pub use instance::{Instance, InstanceState};
pub use settings::ControlSettings;
pub use tally::MIN_EXPECTED_DECISIONS;
