//! The status of a policy's resource.
//!
//! [`Findings`] are all that is known: how the policy was resolved, what the control plane has
//! heard of it, and how far its tail rules have come. Pure: the same findings make the same
//! status, and a condition keeps its `lastTransitionTime` as long as the status it had before.

mod conditions;
mod figures;
mod hints;
mod places;
mod tail_rules;

use std::collections::BTreeSet;

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicyStatus,
    status::{self as api, Condition, Summary, Verdict},
};
use spoor_control::Evidence;
use spoor_policy::{Outcome, Policy, ServiceName};

pub use conditions::warnings;
pub use hints::unknown_services;
pub use tail_rules::TailRules;

/// Everything that is known of a policy.
#[derive(Clone, Debug)]
pub struct Findings<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The `metadata.generation` that it was read from.
    pub generation: Option<i64>,
    /// The outcome of its resolution.
    pub outcome: &'a Outcome,
    /// The evidence of [`spoor_control::Control::evidence`].
    pub evidence: Option<&'a Evidence>,
    /// The state of its tail rules; of no matter where it has none.
    pub tail: TailRules,
    /// The services of its namespace that exist: one of them may be meant by a name that does not.
    pub known: &'a BTreeSet<ServiceName>,
    /// Other remarks about its clients, each a sentence without its full stop.
    pub notes: &'a [String],
    /// The conditions of its last status.
    pub previous: &'a [Condition],
    /// The moment.
    pub now: Timestamp,
}

impl Findings<'_> {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> SamplingPolicyStatus {
        let Self {
            policy,
            outcome,
            evidence,
            tail,
            known,
            notes,
            ..
        } = self;
        let mut converged = conditions::converged(outcome, *evidence, tail);
        let hints = evidence.map(|evidence| hints::hints(evidence, known));
        if conditions::is_accepted(outcome) {
            for hint in hints.iter().flatten().chain(*notes) {
                converged.message.push_str("; ");
                converged.message.push_str(hint);
            }
        }
        let verdicts = [
            (Condition::ACCEPTED, conditions::accepted(outcome)),
            (
                Condition::PROGRAMMED,
                conditions::programmed(outcome, *evidence, tail),
            ),
            (Condition::CONVERGED, converged),
        ];
        let clients = evidence.and_then(|evidence| figures::clients(outcome, evidence));
        let observed = evidence.and_then(|evidence| figures::observed(policy, outcome, evidence));
        let observed_in_words = |(observed, evidence): (_, &Evidence)| {
            figures::observed_in_words(observed, &evidence.clients)
        };
        let clients_in_words = match conditions::decides_tail_only(outcome) {
            true => Some(figures::NO_CLIENTS.to_owned()),
            false => clients.as_ref().map(figures::clients_in_words),
        };
        SamplingPolicyStatus {
            conditions: self.conditions(verdicts),
            summary: Some(Summary {
                strategy: places::strategy(policy),
                clients: clients_in_words,
                observed: observed.as_ref().zip(*evidence).map(observed_in_words),
            }),
            effective: places::effective(outcome),
            overridden: places::overridden(outcome),
            clients,
            observed,
        }
    }

    fn conditions(
        &self,
        verdicts: impl IntoIterator<Item = (&'static str, Verdict)>,
    ) -> Vec<Condition> {
        api::conditions(verdicts, self.generation, self.previous, self.now)
    }
}

/// The status of a resource that is no valid policy, for the reasons given.
#[must_use]
pub fn invalid(
    reasons: &[String],
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> SamplingPolicyStatus {
    let verdicts = conditions::invalid(reasons);
    SamplingPolicyStatus {
        conditions: api::conditions(verdicts, generation, previous, now),
        ..SamplingPolicyStatus::default()
    }
}
