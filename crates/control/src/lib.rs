//! The control plane: serves sampling policies to SDKs and tracks which ones have them in force.
//!
//! [`Control::publish`] puts one table in force. Clients reach it at four endpoints: Jaeger's remote
//! sampling over HTTP ([`Control::sampling_http`]) and gRPC ([`Control::sampling_grpc`]), which only
//! respond; Spoor's own stream ([`Control::policy_stream`]), which pushes plans and receives
//! acknowledgements and counts; and OTLP metrics ([`Control::metrics_http`]) that unmodified SDKs
//! report. [`Control::evidence`] combines all of this for each policy.
//!
//! Samplers receive the tail rules of their namespace over a stream of their own
//! ([`Control::tail_rule_stream`]), over which they acknowledge them and report their decisions
//! ([`Control::samplers`], [`Control::tail_counts`]). Over the same stream they receive the rings by
//! which the samplers of their stack divide traces ([`Control::set_rings`]).
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
//! | values | `counts`, `instance`, `identity`, `coverage`, `evidence`, `reservation`, `rejection`, `stream_warnings`, `sampler_state`, `tail_counts` |
//! | settings | `settings` |
//! | plans and tail rules | `served_plan`, then `fault`, `jaeger_strategy`, `history`, `publication`, `tail_rules`; `stack_rings` |
//! | tallies | `window`, then `tally`, then `tallies`, `tail_tally` |
//! | clients without a stream | `pollers`, `reporters` |
//! | one process | `ledger`, `tail_ledger`, `lending`, then `metrics`, then `record`, then `sampler_record` |
//! | instances | `processes`, then `service`, then `services`; `samplers` |
//! | the control plane | `control` |
//! | clients | `session`, `sampler_session`, then `endpoints` |
//!
//! # Lock order
//!
//! A thread that holds a lock of this list may take only locks further down:
//!
//! 1. the sequence of versions (`control`): held while plans are served, so that a service never
//!    receives versions out of order;
//! 2. the list of services (`services`), or that of namespaces with samplers (`samplers`): held for
//!    writing while a service or a namespace is created, so that a concurrent publication does not
//!    miss it;
//! 3. the faults of all services (`control`), or the rings of all stacks (`samplers`);
//! 4. the state of one service (`service`), or of one namespace's samplers (`samplers`), never of
//!    two;
//! 5. the tallies (`tallies`).
//!
//! The locks of `pollers`, `reporters`, `metrics`, the disconnected instances and samplers, and the
//! watch channels come last: no other lock is taken while one of them is held. No lock is held across
//! an `await`.

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
mod rejection;
mod reporters;
mod reservation;
mod sampler_record;
mod sampler_session;
mod sampler_state;
mod samplers;
mod served_plan;
mod service;
mod services;
mod session;
mod settings;
mod stack_rings;
mod stream_warnings;
mod tail_counts;
mod tail_ledger;
mod tail_rules;
mod tail_tally;
mod tallies;
mod tally;
mod window;

pub use control::{Control, convergence::Convergence, evidence::EvidenceReader};
pub use counts::Counts;
pub use endpoints::{stream::PolicyStreamService, tail_stream::TailRuleStreamService};
pub use evidence::{
    ClientCounts, CountSource, Evidence, NotCurrent, NotCurrentReason, ObservedRate,
    OperationEvidence, ServiceEvidence,
};
pub use fault::ServiceFaults;
pub use identity::{
    AnyoneOnLoopback, Caller, Denied, Identify, Identity, SamplerCaller, SamplerIdentity,
};
pub use instance::{Instance, InstanceState};
pub use sampler_state::{RefusedRules, SamplerState};
pub use settings::ControlSettings;
pub use tail_counts::{OtherwiseRate, TailCounts, TailDecisions};
pub use tally::MIN_EXPECTED_DECISIONS;
