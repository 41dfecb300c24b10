//! Who samples how, now: serves policies to SDKs and tracks who has taken them.
//!
//! One table, published by [`Control::publish`], behind three doors: Jaeger's remote sampling
//! over HTTP ([`Control::sampling_http`]) and gRPC ([`Control::sampling_grpc`]), which only
//! answer, and Spoor's own stream ([`Control::policy_stream`]), which pushes and hears back.
//! A fourth, [`Control::metrics_http`], takes what unmodified SDKs say of themselves.
//! What is heard becomes [`Control::evidence`] for each policy.
//!
//! Nothing is served before the first publication: a client that asks a control plane which has
//! just started must not mistake "not known yet" for "no policy".

mod control;
mod coverage;
mod doors;
mod evidence;
mod fault;
mod heard;
mod identity;
mod instance;
mod ledger;
mod lending;
mod metrics;
mod pollers;
mod processes;
mod progress;
mod record;
mod reported;
mod served;
mod service;
mod services;
mod settings;
mod tally;
mod window;

pub use control::Control;
pub use doors::stream::PolicyStreamService;
pub use evidence::{
    Clients, Evidence, NotCurrent, Observed, OperationEvidence, ServiceEvidence, Source, Why,
};
pub use fault::ServiceFaults;
pub use identity::{AnyoneOnLoopback, Caller, Denied, Identify, Identity};
pub use instance::{Instance, InstanceState, RefusedPlan};
pub use progress::Convergence;
pub use service::Counts;
pub use settings::Settings;
