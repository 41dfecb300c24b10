//! The progress of a namespace's tail rules.

use spoor_api::status::{ConditionStatus, Verdict};

/// The state of tail rules: in force, or the reason why not. Where there are several stacks, the last of these
/// counts: what one stack does not apply is not in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TailRules {
    /// Traces are decided by them.
    InForce,
    /// The stack of this name is about to decide by them.
    RollingOut(String),
    /// The stack of this name has no Collector on the way to Jaeger.
    RouteIsDirect(String),
    /// The stack of this name sends to a Collector that belongs to somebody else.
    CollectorNotManaged(String),
    /// Nobody is there to apply them.
    NoTracingStack,
}

impl TailRules {
    /// Those of a namespace, from each of its stacks.
    #[must_use]
    pub fn across(stacks: impl IntoIterator<Item = Self>) -> Self {
        stacks.into_iter().max().unwrap_or(Self::NoTracingStack)
    }

    pub(crate) fn programmed(&self) -> Verdict {
        let (status, reason, message) = match self {
            Self::InForce => (
                ConditionStatus::True,
                "Programmed",
                "its tail rules are in force".to_owned(),
            ),
            Self::RollingOut(stack) => (
                ConditionStatus::False,
                "RollingOut",
                format!("the Collector of TracingStack {stack:?} does not have its tail rules yet"),
            ),
            Self::RouteIsDirect(stack) => (
                ConditionStatus::False,
                "RouteIsDirect",
                format!(
                    "TracingStack {stack:?} sends traces to Jaeger without a Collector, so no tail rule decides: set its spec.route to Collector"
                ),
            ),
            Self::CollectorNotManaged(stack) => (
                ConditionStatus::False,
                "CollectorNotManaged",
                format!(
                    "TracingStack {stack:?} uses a Collector of somebody else (spec.collector.existing), which gets no tail rules"
                ),
            ),
            Self::NoTracingStack => (
                ConditionStatus::False,
                "NoTracingStack",
                "no TracingStack is in the namespace, so no tail rule decides: create one"
                    .to_owned(),
            ),
        };
        Verdict {
            status,
            reason,
            message,
        }
    }

    /// The verdict of `Converged`: they decide by now.
    pub(crate) fn converged(&self) -> Verdict {
        let programmed = self.programmed();
        match self {
            Self::InForce => Verdict {
                reason: "Converged",
                ..programmed
            },
            _ => programmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_that_is_furthest_behind_counts() {
        let rolling = TailRules::RollingOut("b".into());
        let direct = TailRules::RouteIsDirect("a".into());
        assert_eq!(TailRules::across([]), TailRules::NoTracingStack);
        assert_eq!(
            TailRules::across([TailRules::InForce, TailRules::InForce]),
            TailRules::InForce
        );
        assert_eq!(
            TailRules::across([TailRules::InForce, rolling.clone()]),
            rolling
        );
        assert_eq!(TailRules::across([direct.clone(), rolling]), direct);
    }
}
