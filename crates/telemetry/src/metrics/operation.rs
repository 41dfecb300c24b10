//! Operations of a layer, each with its span's name and its duration histograms.
//!
//! A known operation is looked up once per request, without allocating. Its labels are created at
//! its first request.

use std::{
    borrow::Cow,
    iter,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hashbrown::HashMap;
use opentelemetry::trace::SpanContext;
use parking_lot::RwLock;
use prometheus_client::{
    metrics::{exemplar::HistogramWithExemplars, family::Family},
    registry::{Registry, Unit},
};

use super::exemplar::Exemplar;
use crate::grpc::status;

/// The boundaries that the semantic conventions recommend for request durations, in seconds.
const BUCKET_SECONDS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The most operations of a layer with metrics of their own; the others share `_OTHER`.
const MAX_OPERATIONS: usize = 1000;
/// The longest name of such an operation. A path may be 48 KiB long, and each metric repeats it.
const MAX_TARGET_BYTES: usize = 256;
/// The semantic conventions' name for unknown values.
pub(crate) const OTHER: &str = "_OTHER";

type Labels = Vec<(&'static str, String)>;
type Histogram = HistogramWithExemplars<Exemplar>;
type Durations = Family<Labels, Histogram, fn() -> Histogram>;

type ByTarget = HashMap<Box<str>, Arc<Operation>>;

/// The layer that counts an operation's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    HttpServer,
    HttpClient,
    RpcServer,
    RpcClient,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Rpc(tonic::Code),
    /// No status, but the type of an error: the request was cancelled, or the peer is unreachable.
    NoResponse(&'static str),
}

/// All operations of one layer.
pub(crate) struct Operations {
    side: Side,
    durations: Durations,
    known: RwLock<HashMap<&'static str, ByTarget>>,
}

/// One operation: an HTTP method with a route (servers) or a host (clients), or an RPC method.
pub(crate) struct Operation {
    /// The span's name. Owned only if the operation is not known: callers may invent such names.
    pub(crate) name: Cow<'static, str>,
    /// The route, the server's host for HTTP clients, or the RPC method. Empty if there is none.
    pub(crate) target: &'static str,
    /// The layer that counts it.
    pub(crate) side: Side,
    labels: Labels,
    durations: Durations,
    /// The outcomes so far.
    outcomes: RwLock<Vec<(Outcome, Histogram)>>,
}

impl Side {
    fn metric(self) -> (&'static str, &'static str) {
        match self {
            Self::HttpServer => (
                "http_server_request_duration",
                "Duration of HTTP server requests",
            ),
            Self::HttpClient => (
                "http_client_request_duration",
                "Duration of HTTP client requests",
            ),
            Self::RpcServer => ("rpc_server_call_duration", "Duration of incoming RPCs"),
            Self::RpcClient => ("rpc_client_call_duration", "Duration of outgoing RPCs"),
        }
    }

    /// Returns whether an outcome counts as an error on this side.
    ///
    /// Source: semantic conventions for HTTP and gRPC.
    pub(crate) fn is_error(self, outcome: Outcome) -> bool {
        match (outcome, self) {
            (Outcome::Http(status), Self::HttpServer) => status >= 500,
            (Outcome::Http(status), _) => status >= 400,
            (Outcome::Rpc(code), Self::RpcServer) => status::is_server_error(code),
            (Outcome::Rpc(code), _) => code != tonic::Code::Ok,
            (Outcome::NoResponse(_), _) => true,
        }
    }

    /// The attributes of an outcome: the status, if there is one, and `error.type` when it counts
    /// as an error on this side.
    fn outcome_labels(self, outcome: Outcome) -> Labels {
        let (key, status) = match outcome {
            Outcome::NoResponse(_) => return vec![("error_type", OTHER.to_owned())],
            Outcome::Http(status) => ("http_response_status_code", status.to_string()),
            Outcome::Rpc(code) => ("rpc_response_status_code", status::name(code).to_owned()),
        };
        let is_error = self.is_error(outcome);
        let error_type = is_error.then(|| ("error_type", status.clone()));
        iter::once((key, status)).chain(error_type).collect()
    }

    fn labels(self, method: &'static str, target: &str) -> Labels {
        let (first, key) = match self {
            Self::HttpServer => (("http_request_method", method), "http_route"),
            Self::HttpClient => (("http_request_method", method), "server_address"),
            Self::RpcServer | Self::RpcClient => (("rpc_system_name", "grpc"), "rpc_method"),
        };
        let target = (!target.is_empty()).then_some((key, target));
        let labels = iter::once(first).chain(target);
        labels.map(|(key, it)| (key, it.to_owned())).collect()
    }

    /// HTTP servers: `{method} {route}`. RPC: the method. HTTP clients have no route to name.
    fn span_name(self, method: &'static str, target: &'static str) -> &'static str {
        let method = if method == OTHER { "HTTP" } else { method };
        match self {
            Self::HttpServer if !target.is_empty() => leak(&format!("{method} {target}")),
            Self::HttpServer | Self::HttpClient => method,
            Self::RpcServer | Self::RpcClient => target,
        }
    }
}

impl Operations {
    pub(crate) fn register(side: Side, registry: &mut Registry) -> Self {
        let histogram = || Histogram::new(BUCKET_SECONDS.into_iter());
        let durations = Durations::new_with_constructor(histogram);
        let (name, help) = side.metric();
        registry.register_with_unit(name, help, Unit::Seconds, durations.clone());
        Self {
            side,
            durations,
            known: RwLock::default(),
        }
    }

    /// The operation of this method (one of a fixed set) and target.
    pub(crate) fn get(&self, method: &'static str, target: &str) -> Arc<Operation> {
        let known = self.known.read();
        if let Some(operation) = known.get(method).and_then(|targets| targets.get(target)) {
            return Arc::clone(operation);
        }
        // Released first, since the lock is not reentrant.
        drop(known);
        match self.side {
            // Callers may invent names, which must not become series: a server's method is added
            // when the service has responded.
            Side::RpcServer => self.unrecognized(method, target),
            _ => self.add(method, target),
        }
    }

    /// An operation that is not known, whose metrics are those of `_OTHER`.
    fn unrecognized(&self, method: &'static str, target: &str) -> Arc<Operation> {
        let name = match self.side {
            Side::RpcServer | Side::RpcClient => target,
            Side::HttpServer | Side::HttpClient => method,
        };
        Arc::new(Operation {
            name: Cow::Owned(name.to_owned()),
            target: OTHER,
            labels: self.side.labels(OTHER, OTHER),
            ..Operation::new(self.side, OTHER, "", &self.durations)
        })
    }

    /// Adds an operation to those that are known, unless there are too many or its name is too long.
    pub(crate) fn add(&self, method: &'static str, target: &str) -> Arc<Operation> {
        let mut known = self.known.write();
        // A service's fallback, or a fault, responds to any name of a gRPC method, so their number
        // and length must be bounded.
        let count: usize = known.values().map(HashMap::len).sum();
        if count >= MAX_OPERATIONS || target.len() > MAX_TARGET_BYTES {
            return self.unrecognized(method, target);
        }
        let targets = known.entry(method).or_default();
        let operation = targets.entry(target.into()).or_insert_with(|| {
            let target = leak(target);
            Arc::new(Operation::new(self.side, method, target, &self.durations))
        });
        Arc::clone(operation)
    }
}

impl Operation {
    fn new(side: Side, method: &'static str, target: &'static str, durations: &Durations) -> Self {
        Self {
            name: Cow::Borrowed(side.span_name(method, target)),
            target,
            side,
            labels: side.labels(method, target),
            durations: durations.clone(),
            outcomes: RwLock::default(),
        }
    }

    /// Counts a request with its span.
    pub(crate) fn observe(&self, outcome: Outcome, duration: Duration, span: &SpanContext) {
        let seconds = duration.as_secs_f64();
        let exemplar = Exemplar::of(span);
        let now = exemplar.map(|_| SystemTime::now());
        // There are few outcomes, so scanning a list is faster than hashing.
        let outcomes = self.outcomes.read();
        if let Some((_, histogram)) = outcomes.iter().find(|(known, _)| *known == outcome) {
            histogram.observe(seconds, exemplar, now);
            return;
        }
        drop(outcomes);
        self.add_outcome(outcome).observe(seconds, exemplar, now);
    }

    fn add_outcome(&self, outcome: Outcome) -> Histogram {
        let mut labels = self.labels.clone();
        labels.extend(self.side.outcome_labels(outcome));
        let histogram = self.durations.get_or_create_owned(&labels);
        let mut outcomes = self.outcomes.write();
        // Another thread may have been first.
        if !outcomes.iter().any(|(known, _)| *known == outcome) {
            outcomes.push((outcome, histogram.clone()));
        }
        histogram
    }
}

/// Leaks a string, since span names must be `'static` or allocated for each span. Their number is
/// bounded by [`MAX_OPERATIONS`].
fn leak(text: &str) -> &'static str {
    Box::leak(text.into())
}
