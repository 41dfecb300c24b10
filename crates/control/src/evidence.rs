//! The observed effect of a policy.

use std::time::Duration;

use spoor_policy::{
    OperationName, ServiceName,
    statistics::{Interval, Verdict},
};

/// The most instances, or services where traces start, that are listed by name, so that a status
/// stays small.
pub(crate) const MAX_LISTED: usize = 100;

/// The observed effect of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The instances of the services where the policy decides the head.
    pub clients: ClientCounts,
    /// The time from publication to acknowledgement of the slowest current instance.
    pub slowest: Option<Duration>,
    /// The recent sampling rate, or `None` without recent root decisions under the policy.
    pub observed: Option<ObservedRate>,
    /// The services where the policy decides the head, and those for which it decides the tail by
    /// name.
    pub services: Vec<ServiceEvidence>,
    /// The services of its namespace in which traces have started, at most 100.
    pub root_services: Vec<ServiceName>,
}

/// Numbers of instances by state. `expected` is the sum of the others and of those pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Instances that are expected, connected or polling.
    pub expected: usize,
    /// Instances that acknowledged the newest plan.
    pub current: usize,
    /// Instances that refused it.
    pub refused: usize,
    /// Clients that poll Jaeger's remote sampling, a protocol without acknowledgements.
    pub polling: usize,
    /// Instances that have stopped sending messages.
    pub silent: usize,
    /// Expected instances that have never requested a strategy.
    pub never_asked: usize,
    /// The instances that are not current, at most 100. Those that have never requested a strategy
    /// are left out if clients poll, since some of them may be those clients.
    pub not_current: Vec<NotCurrent>,
}

/// An instance that is not known to follow a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCurrent {
    /// The instance's service.
    pub service: ServiceName,
    /// The instance's ID, or the address of a polling client.
    pub instance: String,
    /// The reason.
    pub reason: NotCurrentReason,
}

/// The reason why an instance is not current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCurrentReason {
    /// The instance has neither acknowledged nor refused the plan yet.
    Pending,
    /// The instance refused the plan, for this reason.
    Refused(String),
    /// The instance has stopped sending messages.
    Silent,
    /// The instance is expected and has never requested a strategy.
    NeverAsked,
    /// The client polls and cannot acknowledge.
    Polling,
}

/// The sampling rate in the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObservedRate {
    /// The origin of the counts.
    pub source: CountSource,
    /// The time that the counts cover: the length of the window, or less while the tally is new.
    pub window: Duration,
    /// Root decisions.
    pub started: u64,
    /// The decisions that keep the trace.
    pub sampled: u64,
    /// The sampled share, from 0.0 to 1.0.
    pub rate: f64,
    /// The 95 % confidence interval of the rate.
    pub interval: Interval,
    /// The comparison with the policy.
    pub verdict: Verdict,
}

/// The origin of counts of root decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountSource {
    /// Spoor's own clients.
    Clients,
    /// Metrics of unmodified SDKs. Anyone can send those, so they get no verdict.
    Reported,
}

/// A policy's effect on one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvidence {
    /// The service.
    pub service: ServiceName,
    /// The number of instances that are expected, connected or polling.
    pub instances: usize,
    /// True if its root decisions are reported: by a process for long enough to rely on that, or
    /// recently by an unmodified SDK.
    pub has_reports: bool,
    /// True if any trace has started there.
    pub has_roots: bool,
    /// The operations that the policy names there.
    pub operations: Vec<OperationEvidence>,
    /// True if Jaeger's remote sampling cannot express all of the policy there: it has no rate
    /// limit for an operation, and no strategy for an operation of a service with a rate limit.
    pub is_partly_expressible: bool,
}

/// A policy's effect on one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationEvidence {
    /// The operation.
    pub operation: OperationName,
    /// True if any trace has started under this name. `None` if no process is connected, or if too
    /// few traces have started under plans that name the operation.
    pub seen: Option<bool>,
}

impl ClientCounts {
    /// The number of instances that have neither acknowledged nor refused the plan yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        let known = self.current + self.refused + self.polling + self.silent + self.never_asked;
        self.expected.saturating_sub(known)
    }

    /// Adds the instances of another service.
    pub(crate) fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.current += other.current;
        self.refused += other.refused;
        self.polling += other.polling;
        self.silent += other.silent;
        self.never_asked += other.never_asked;
        let room = MAX_LISTED.saturating_sub(self.not_current.len());
        self.not_current
            .extend(other.not_current.into_iter().take(room));
    }

    /// Lists an instance by name, if there is room.
    pub(crate) fn list(&mut self, service: &ServiceName, instance: &str, reason: NotCurrentReason) {
        if self.not_current.len() < MAX_LISTED {
            self.not_current.push(NotCurrent {
                service: service.clone(),
                instance: instance.to_owned(),
                reason,
            });
        }
    }
}
