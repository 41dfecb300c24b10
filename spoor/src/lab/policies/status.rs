//! What became of a policy, from its resolution and the control plane's evidence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use spoor_api::{SamplingPolicy, SamplingPolicyStatus, status as api};
use spoor_control::{Evidence, Observed};
use spoor_policy::{Outcome, Policy, PolicyKey, Setting};

use super::{
    book::Entry,
    conditions::{self, Verdict},
};

/// Since when each condition has its status.
#[derive(Debug, Default)]
pub(super) struct Transitions(
    BTreeMap<(PolicyKey, &'static str), (api::ConditionStatus, Timestamp)>,
);

/// The resource as it is shown: as written, with its status of this moment.
pub(super) fn with_status(
    entry: &Entry,
    outcome: Option<&Outcome>,
    evidence: Option<&Evidence>,
    transitions: &mut Transitions,
    now: Timestamp,
) -> SamplingPolicy {
    let status = outcome.map(|outcome| status(entry, outcome, evidence, transitions, now));
    SamplingPolicy {
        status,
        ..entry.resource.clone()
    }
}

fn status(
    entry: &Entry,
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    transitions: &mut Transitions,
    now: Timestamp,
) -> SamplingPolicyStatus {
    let verdicts = [
        (api::Condition::ACCEPTED, conditions::accepted(outcome)),
        (
            api::Condition::PROGRAMMED,
            conditions::programmed(outcome, evidence),
        ),
        (
            api::Condition::CONVERGED,
            conditions::converged(&entry.policy, outcome, evidence),
        ),
    ];
    let condition = |(kind, verdict): (&'static str, Verdict)| api::Condition {
        kind: kind.to_owned(),
        status: verdict.status,
        observed_generation: entry.resource.metadata.generation,
        last_transition_time: transitions
            .since(entry.policy.key(), kind, verdict.status, now)
            .to_string(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
    };
    SamplingPolicyStatus {
        conditions: verdicts.into_iter().map(condition).collect(),
        effective: effective(outcome),
        overridden: overridden(outcome),
        clients: evidence.map(clients),
        observed: evidence
            .and_then(|evidence| evidence.observed.as_ref())
            .map(observed),
    }
}

impl Transitions {
    fn since(
        &mut self,
        key: &PolicyKey,
        kind: &'static str,
        status: api::ConditionStatus,
        now: Timestamp,
    ) -> Timestamp {
        let known = self.0.entry((key.clone(), kind)).or_insert((status, now));
        if known.0 != status {
            *known = (status, now);
        }
        known.1
    }

    /// Forgets those of policies that are gone.
    pub(super) fn keep(&mut self, policies: &[Policy]) {
        let keys: BTreeSet<&PolicyKey> = policies.iter().map(Policy::key).collect();
        self.0.retain(|(key, _), _| keys.contains(key));
    }
}

fn effective(outcome: &Outcome) -> Vec<api::Effective> {
    let strategy = |setting: &Setting| match setting {
        Setting::Head(strategy) => strategy.to_string(),
        Setting::Tail { otherwise } => format!("tail, otherwise {otherwise}"),
    };
    let places = outcome.effective.iter().map(|place| api::Effective {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        strategy: strategy(&place.setting),
    });
    places.collect()
}

fn overridden(outcome: &Outcome) -> Vec<api::Overridden> {
    let places = outcome.overridden.iter().map(|place| api::Overridden {
        service: place.service.as_ref().map(ToString::to_string),
        operation: place.operation.as_ref().map(ToString::to_string),
        by: place.by.to_string(),
    });
    places.collect()
}

fn clients(evidence: &Evidence) -> api::Clients {
    let clients = &evidence.clients;
    api::Clients {
        expected: count(clients.expected),
        current: count(clients.current),
        refused: count(clients.refused),
        polling: count(clients.polling),
        silent: count(clients.silent),
        slowest_milliseconds: evidence.slowest.map(whole_milliseconds),
    }
}

fn observed(observed: &Observed) -> api::Observed {
    api::Observed {
        window_seconds: u32::try_from(observed.window.as_secs()).unwrap_or(u32::MAX),
        started: observed.started,
        sampled: observed.sampled,
        rate: percentage(observed.rate),
        lower: percentage(observed.interval.lower),
        upper: percentage(observed.interval.upper),
        verdict: format!("{:?}", observed.verdict),
    }
}

/// Begun milliseconds count, so that nothing takes none.
fn whole_milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Three digits that count: `0.989%`, `12.3%`, `100%`.
fn percentage(share: f64) -> String {
    let percent = share * 100.0;
    let decimals = match percent {
        p if p >= 99.95 => 0,
        p if p >= 9.995 => 1,
        p if p >= 0.9995 => 2,
        p if p >= 0.09995 => 3,
        _ => 5,
    };
    let text = format!("{percent:.decimals$}");
    let trimmed = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{trimmed}%")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(0.0, "0%")]
    #[case(1.0, "100%")]
    #[case(0.009893, "0.989%")]
    #[case(0.0098, "0.98%")]
    #[case(0.01043, "1.04%")]
    #[case(0.1, "10%")]
    #[case(0.000987, "0.0987%")]
    #[case(0.999999, "100%")]
    fn percentages(#[case] share: f64, #[case] shown: &str) {
        assert_eq!(percentage(share), shown);
    }
}
