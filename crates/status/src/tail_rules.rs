//! The progress of a namespace's tail rules.

use spoor_api::status::{ConditionStatus, ConditionUpdate};

use crate::samplers::SamplerProgress;

/// The state of tail rules: in force, or the reason why not.
///
/// Ordered by severity. With several stacks, the worst state counts: rules that one stack does not
/// apply are not in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
pub enum TailRules {
    /// The rules are applied to traces.
    #[display("the tail rules are in force")]
    InForce,
    /// Not every sampler of the namespace is known to apply the rules.
    #[display("{_0}")]
    Samplers(SamplerProgress),
    /// The stack with this name is being updated to these rules.
    #[display("the Collector of TracingStack {_0:?} does not apply the tail rules yet")]
    RollingOut(String),
    /// The stack with this name is changing its engine.
    #[display(
        "TracingStack {_0:?} is changing its sampler; the new one does not apply the tail rules yet"
    )]
    ChangingEngine(String),
    /// The stack with this name has no sampler that is Ready.
    #[display("no sampler of TracingStack {_0:?} is ready to apply the tail rules")]
    NoSamplerReady(String),
    /// The stack with this name sends traces to Jaeger without a Collector.
    #[display(
        "TracingStack {_0:?} sends traces to Jaeger without a Collector, so tail rules have no effect; set its spec.route to Collector"
    )]
    RouteIsDirect(String),
    /// The stack with this name uses a Collector that the operator does not run, without a sampler.
    #[display(
        "TracingStack {_0:?} uses a Collector that the operator does not run (spec.collector.existing), so tail rules have no effect; set \"kept\" there to put a sampler behind that Collector, configure tail sampling in it, or unset the field"
    )]
    CollectorNotManaged(String),
    /// The namespace has no stack to apply the rules.
    #[display("the namespace has no TracingStack, so tail rules have no effect; create one")]
    NoTracingStack,
}

impl TailRules {
    /// The state of a namespace: the worst of its stacks' states.
    #[must_use]
    pub fn worst_of(stacks: impl IntoIterator<Item = Self>) -> Self {
        stacks.into_iter().max().unwrap_or(Self::NoTracingStack)
    }

    /// The state of the stacks whose samplers apply the rules.
    #[must_use]
    pub fn of_samplers(progress: SamplerProgress) -> Self {
        match progress.is_complete() {
            true => Self::InForce,
            false => Self::Samplers(progress),
        }
    }

    pub(crate) fn programmed(&self) -> ConditionUpdate {
        let (status, reason) = match self {
            Self::InForce => (ConditionStatus::True, "Programmed"),
            Self::Samplers(progress) => progress.programmed(),
            Self::RollingOut(_) => (ConditionStatus::False, "RollingOut"),
            Self::ChangingEngine(_) => (ConditionStatus::False, "ChangingEngine"),
            Self::NoSamplerReady(_) => (ConditionStatus::False, "NoSamplerReady"),
            Self::RouteIsDirect(_) => (ConditionStatus::False, "RouteIsDirect"),
            Self::CollectorNotManaged(_) => (ConditionStatus::False, "CollectorNotManaged"),
            Self::NoTracingStack => (ConditionStatus::False, "NoTracingStack"),
        };
        ConditionUpdate::new(status, reason, self.to_string())
    }

    /// The condition `Converged`: the rules are in force.
    pub(crate) fn converged(&self) -> ConditionUpdate {
        // A Collector applies rules as soon as it starts, and a sampler before it acknowledges
        // them, so programmed rules have converged.
        let mut condition = self.programmed();
        if *self == Self::InForce {
            condition.reason = "Converged";
        }
        condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_stack_counts() {
        let rolling = TailRules::RollingOut("b".into());
        let direct = TailRules::RouteIsDirect("a".into());
        assert_eq!(TailRules::worst_of([]), TailRules::NoTracingStack);
        assert_eq!(
            TailRules::worst_of([TailRules::InForce, TailRules::InForce]),
            TailRules::InForce
        );
        assert_eq!(
            TailRules::worst_of([TailRules::InForce, rolling.clone()]),
            rolling
        );
        assert_eq!(TailRules::worst_of([direct.clone(), rolling]), direct);
    }
}
