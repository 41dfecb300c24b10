//! Whether a policy really happens.

mod gather;

use std::time::Duration;

use spoor_policy::{
    OperationName, ServiceName,
    statistics::{Interval, Verdict},
};

/// The most instances that are named.
const MAX_NAMED: usize = 100;

/// What is known of a policy's effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The instances of the services where it decides.
    pub clients: Clients,
    /// From publication to acknowledgement, of the slowest among the current instances.
    pub slowest: Option<Duration>,
    /// What was sampled lately; none before the first root decision under it.
    pub observed: Option<Observed>,
    /// The services where it decides; of those where only its tail rules do, the ones it names.
    pub services: Vec<ServiceEvidence>,
    /// The services of its namespace in which traces have started.
    pub roots_at: Vec<ServiceName>,
}

/// Instances by where they stand; `expected` is the sum of all others and those still pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// Who should be there, or is.
    pub expected: usize,
    /// They acknowledged the newest plan.
    pub current: usize,
    /// They did not take it.
    pub refused: usize,
    /// They ask at the stock doors, which confirms nothing.
    pub polling: usize,
    /// They reported, and no longer do.
    pub silent: usize,
    /// They should be there and have never asked for a strategy.
    pub never_asked: usize,
    /// Those that are not current, up to 100 of them.
    pub not_current: Vec<NotCurrent>,
}

/// An instance that does not follow a policy, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCurrent {
    /// Its service.
    pub service: ServiceName,
    /// Its id; a polling client's address.
    pub instance: String,
    /// What is the matter.
    pub why: Why,
}

/// Why an instance is not current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its acknowledgement is still awaited.
    Pending,
    /// It refused, for this reason.
    Refused(String),
    /// It reported, and no longer does.
    Silent,
    /// It should be there and has never asked for a strategy.
    NeverAsked,
    /// It polls.
    Polling,
}

/// What was sampled in the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    /// Who counted.
    pub source: Source,
    /// The window's length; shorter while the policy is young.
    pub window: Duration,
    /// Root decisions.
    pub started: u64,
    /// Those that keep the trace.
    pub sampled: u64,
    /// Their share, from 0.0 to 1.0.
    pub rate: f64,
    /// The shares that are plausible, at 95 %.
    pub interval: Interval,
    /// Whether it is what the policy asks for.
    pub verdict: Verdict,
}

/// Who counted root decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Spoor's own clients.
    Clients,
    /// Unmodified SDKs by their metrics. Anyone can send those: no verdict rests on them.
    Reported,
}

/// A policy's effect on one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvidence {
    /// The service.
    pub service: ServiceName,
    /// How many instances there are, or should be.
    pub instances: usize,
    /// Whether any of them says what it samples, and has done so for long enough to be believed.
    pub reports: bool,
    /// Whether any trace has started there.
    pub roots_seen: bool,
    /// The operations that the policy names there.
    pub operations: Vec<OperationEvidence>,
    /// Whether stock clients can't be told all that the policy says there: they know no limit for
    /// one operation, and no operation beside a limit.
    pub partly_expressible: bool,
}

/// A policy's effect on one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEvidence {
    /// The operation.
    pub operation: OperationName,
    /// Whether any trace has started under this name; none where nobody tells names, or too few
    /// traces have started since they do.
    pub seen: Option<bool>,
}

impl Clients {
    /// Neither current nor anything else yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let known = self.current + self.refused + self.polling + self.silent + self.never_asked;
        self.expected.saturating_sub(known)
    }

    /// Takes in those of another service.
    fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.current += other.current;
        self.refused += other.refused;
        self.polling += other.polling;
        self.silent += other.silent;
        self.never_asked += other.never_asked;
        let room = MAX_NAMED.saturating_sub(self.not_current.len());
        self.not_current
            .extend(other.not_current.into_iter().take(room));
    }

    fn name(&mut self, service: &ServiceName, instance: &str, why: Why) {
        if self.not_current.len() < MAX_NAMED {
            self.not_current.push(NotCurrent {
                service: service.clone(),
                instance: instance.to_owned(),
                why,
            });
        }
    }
}
