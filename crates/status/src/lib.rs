//! The status of a policy's resource.
//!
//! [`PolicyFindings`] holds all inputs: the policy's resolution, the control plane's evidence and
//! the state of its tail rules. The computation is pure: the same findings give the same status. A
//! condition keeps its `lastTransitionTime` as long as its status does not change.

mod conditions;
mod figures;
mod hints;
mod places;
mod samplers;
mod tail_figures;
mod tail_rules;

use std::collections::BTreeSet;

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicyStatus,
    status::{self as api, Condition, PolicySummary},
};
use spoor_control::{Evidence, TailCounts};
use spoor_policy::{Outcome, Policy, ServiceName};

pub use conditions::warnings;
pub use hints::{unknown_operations, unknown_services};
pub use samplers::SamplerProgress;
pub use tail_rules::TailRules;

/// All inputs for the status of a policy.
#[derive(Clone, Debug)]
pub struct PolicyFindings<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The `metadata.generation` that it was read from.
    pub generation: Option<i64>,
    /// The outcome of its resolution.
    pub outcome: &'a Outcome,
    /// The evidence of [`spoor_control::Control::evidence`].
    pub evidence: Option<&'a Evidence>,
    /// The state of its tail rules. Ignored if it has none.
    pub tail: TailRules,
    /// The counts of its tail's decisions, from [`spoor_control::Control::tail_counts`].
    pub decisions: Option<&'a TailCounts>,
    /// The services of its namespace, to suggest one for an unknown name. Tail rules apply to any
    /// service that sends spans, so for a policy without a head they may include those.
    pub known: &'a BTreeSet<ServiceName>,
    /// Other notes on its clients, each a sentence without a full stop.
    pub notes: &'a [String],
    /// The conditions of its last status.
    pub previous: &'a [Condition],
    /// The current time.
    pub now: Timestamp,
}

impl PolicyFindings<'_> {
    /// The status for these findings.
    #[must_use]
    pub fn status(&self) -> SamplingPolicyStatus {
        let (policy, outcome, evidence) = (self.policy, self.outcome, self.evidence);
        let mut converged = conditions::converged(outcome, evidence, &self.tail);
        let programmed = conditions::programmed(outcome, evidence, &self.tail);
        let hints = evidence.map(|evidence| hints::hints(policy, evidence, self.known));
        // A policy that is not accepted has no effect anywhere, so hints about its effect would
        // mislead.
        if conditions::is_accepted(outcome) {
            for hint in hints.iter().flatten().chain(self.notes) {
                converged.message.push_str("; ");
                converged.message.push_str(hint);
            }
        }
        let updates = [
            (Condition::ACCEPTED, conditions::accepted(outcome)),
            (Condition::PROGRAMMED, programmed),
            (Condition::CONVERGED, converged),
        ];
        // No client applies a policy that decides no head.
        let head_evidence = evidence.filter(|_| conditions::decides_head(outcome));
        let clients = head_evidence.map(figures::clients);
        let observed = head_evidence.map(|evidence| figures::observed(policy, evidence));
        let observed_summary = |(observed, evidence): (_, &Evidence)| {
            figures::observed_summary(observed, &evidence.clients)
        };
        let clients_summary = match conditions::decides_tail_only(outcome) {
            true => Some(figures::NO_CLIENTS.to_owned()),
            false => clients.as_ref().map(figures::clients_summary),
        };
        let decisions = self.decisions;
        let tail = decisions.and_then(|counts| tail_figures::tail(policy, outcome, counts));
        SamplingPolicyStatus {
            conditions: api::conditions(updates, self.generation, self.previous, self.now),
            summary: Some(PolicySummary {
                strategy: places::strategy(policy),
                clients: clients_summary,
                observed: observed.as_ref().zip(evidence).map(observed_summary),
                tail: tail.as_ref().map(tail_figures::summary),
            }),
            effective: places::effective(outcome),
            overridden: places::overridden(outcome),
            clients,
            observed,
            tail,
        }
    }
}

/// The status of a resource that is not a valid policy, for the given reasons.
#[must_use]
pub fn invalid(
    reasons: &[String],
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> SamplingPolicyStatus {
    let updates = conditions::invalid(reasons);
    SamplingPolicyStatus {
        conditions: api::conditions(updates, generation, previous, now),
        ..SamplingPolicyStatus::default()
    }
}
