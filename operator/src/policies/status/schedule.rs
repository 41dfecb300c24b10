//! The time at which a status should be written.

use std::time::{Duration, Instant};

use spoor_api::{
    SamplingPolicyStatus,
    status::{Condition, ConditionStatus, Observed},
};

/// The time that a change is given to settle before an intermediate status is written.
/// Services apply a policy within milliseconds.
const SETTLE_DELAY: Duration = Duration::from_millis(200);
/// The shortest interval between two writes, however often clients connect and disconnect.
const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(250);
/// The shortest interval between two writes that change no condition's status or reason.
const MIN_DETAIL_WRITE_INTERVAL: Duration = Duration::from_secs(5);

/// The present and the desired status of a policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusChange<'a> {
    /// The status in the cluster.
    pub(super) current: Option<&'a SamplingPolicyStatus>,
    /// The desired status.
    pub(super) desired: &'a SamplingPolicyStatus,
    /// The time of the last write, or at which this replica became the leader.
    pub(super) written: Instant,
    /// The time until which clients may still reconnect to a new leader.
    pub(super) reconnect_until: Instant,
    /// The shortest interval between two writes in which only observed numbers change.
    pub(super) observed_interval: Duration,
}

/// The time at which to write. None while the status is as desired. `differs_since` keeps the time
/// of the first difference.
pub(super) fn write_time(
    change: &StatusChange<'_>,
    differs_since: &mut Option<Instant>,
    now: Instant,
) -> Option<Instant> {
    let (current, desired) = (change.current, change.desired);
    if current == Some(desired) {
        *differs_since = None;
        return None;
    }
    if current.is_some_and(|current| without_numbers(current) == without_numbers(desired)) {
        *differs_since = None;
        return Some(change.written + change.observed_interval);
    }
    // From the first difference on: if each further one moved the time, a status that changes all
    // the time would never be written.
    let since = *differs_since.get_or_insert(now);
    let delay = is_converging(desired).then_some(SETTLE_DELAY);
    let settled = since + delay.unwrap_or_default();
    let settled = settled.max(change.written + MIN_WRITE_INTERVAL);
    let Some(current) = current else {
        return Some(settled);
    };
    // Clients keep their plan while the leader changes, so it would be wrong to report for some
    // seconds that they have none.
    if only_awaits_reconnects(current, desired) {
        return Some(settled.max(change.reconnect_until));
    }
    Some(match states(current) == states(desired) {
        true => settled.max(change.written + MIN_DETAIL_WRITE_INTERVAL),
        false => settled,
    })
}

/// Returns true if clients are still applying the policy.
fn is_converging(status: &SamplingPolicyStatus) -> bool {
    let status_of = |kind| condition(status, kind).map(|condition| condition.status);
    status_of(Condition::ACCEPTED) == Some(ConditionStatus::True)
        && status_of(Condition::CONVERGED).is_some_and(|it| it != ConditionStatus::True)
}

/// Returns true if the only change is that clients of the last leader have not reconnected yet.
fn only_awaits_reconnects(current: &SamplingPolicyStatus, desired: &SamplingPolicyStatus) -> bool {
    let had = condition(current, Condition::CONVERGED);
    let has = condition(desired, Condition::CONVERGED);
    let (Some(had), Some(has)) = (had, has) else {
        return false;
    };
    had.status == ConditionStatus::True
        && has.status != ConditionStatus::True
        && had.observed_generation == has.observed_generation
        && condition(current, Condition::ACCEPTED).map(state)
            == condition(desired, Condition::ACCEPTED).map(state)
}

/// A condition without its message and time.
type ConditionState<'a> = (&'a str, ConditionStatus, Option<i64>, &'a str);

fn states(status: &SamplingPolicyStatus) -> Vec<ConditionState<'_>> {
    status.conditions.iter().map(state).collect()
}

fn state(it: &Condition) -> ConditionState<'_> {
    (&it.kind, it.status, it.observed_generation, &it.reason)
}

/// The condition of this type.
pub(super) fn condition<'a>(status: &'a SamplingPolicyStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|it| it.kind == kind)
}

/// The status without the numbers that change while nothing else does.
fn without_numbers(status: &SamplingPolicyStatus) -> SamplingPolicyStatus {
    let mut status = status.clone();
    if let Some(clients) = &mut status.clients {
        clients.slowest_milliseconds = None;
    }
    if let Some(summary) = &mut status.summary {
        summary.observed = None;
        summary.tail = None;
    }
    status.observed = status.observed.map(|observed| Observed {
        source: observed.source,
        verdict: observed.verdict,
        ..Observed::default()
    });
    if let Some(tail) = &mut status.tail {
        tail.decided = 0;
        tail.kept = 0;
        for rule in &mut tail.by_rule {
            rule.kept = 0;
        }
        tail.otherwise.rate = None;
        tail.otherwise.lower = None;
        tail.otherwise.upper = None;
    }
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use spoor_api::status::{Clients, ObservedSource, ObservedTail, RuleKept};

    use super::*;

    const OBSERVED_INTERVAL: Duration = Duration::from_secs(30);

    fn status(converged: ConditionStatus, generation: i64) -> SamplingPolicyStatus {
        let condition = |kind: &str, status, reason: &str| Condition {
            kind: kind.to_owned(),
            status,
            observed_generation: Some(generation),
            last_transition_time: String::new(),
            reason: reason.to_owned(),
            message: String::new(),
        };
        SamplingPolicyStatus {
            conditions: vec![
                condition(Condition::ACCEPTED, ConditionStatus::True, "Accepted"),
                condition(Condition::CONVERGED, converged, &format!("{converged:?}")),
            ],
            clients: Some(Clients::default()),
            observed: Some(Observed {
                source: ObservedSource::Clients,
                window_seconds: 60,
                started: 0,
                sampled: 0,
                rate: None,
                lower: None,
                upper: None,
                verdict: "Unknown".to_owned(),
                message: None,
            }),
            ..SamplingPolicyStatus::default()
        }
    }

    fn applied() -> SamplingPolicyStatus {
        status(ConditionStatus::True, 1)
    }

    fn pending(generation: i64) -> SamplingPolicyStatus {
        status(ConditionStatus::False, generation)
    }

    fn with_count(started: u64) -> SamplingPolicyStatus {
        let mut status = applied();
        status.observed.as_mut().unwrap().started = started;
        status.clients.as_mut().unwrap().slowest_milliseconds = Some(started);
        status
    }

    fn with_tail(kept: u64, verdict: &str) -> SamplingPolicyStatus {
        let mut tail = ObservedTail {
            decided: kept,
            kept,
            by_rule: vec![RuleKept {
                name: "errors".to_owned(),
                kept,
            }],
            ..ObservedTail::default()
        };
        tail.otherwise.rate = Some(format!("{kept}%"));
        tail.otherwise.verdict = verdict.to_owned();
        let mut status = applied();
        status.tail = Some(tail);
        status
    }

    fn with_verdict() -> SamplingPolicyStatus {
        let mut status = applied();
        status.observed.as_mut().unwrap().verdict = "TooHigh".to_owned();
        status
    }

    fn with_clients(clients: u32) -> SamplingPolicyStatus {
        let mut status = applied();
        status.clients.as_mut().unwrap().expected = clients;
        status
    }

    /// A change while no instance is expected to reconnect.
    fn change<'s>(
        current: Option<&'s SamplingPolicyStatus>,
        desired: &'s SamplingPolicyStatus,
        written: Instant,
    ) -> StatusChange<'s> {
        StatusChange {
            current,
            desired,
            written,
            reconnect_until: written,
            observed_interval: OBSERVED_INTERVAL,
        }
    }

    /// Times are in milliseconds after the last write; everything begins 100 s after it.
    #[rstest]
    #[case::nothing_changed(Some(applied()), applied(), None)]
    #[case::first(None, applied(), Some(100_000))]
    #[case::first_and_not_applied_yet(None, pending(1), Some(100_200))]
    #[case::changed_and_applied(Some(applied()), status(ConditionStatus::True, 2), Some(100_000))]
    #[case::changed_and_not_applied_yet(Some(applied()), pending(2), Some(100_200))]
    #[case::applied(Some(pending(1)), applied(), Some(100_000))]
    #[case::numbers(Some(applied()), with_count(7), Some(30_000))]
    #[case::tail_numbers(Some(with_tail(1, "Unknown")), with_tail(2, "Unknown"), Some(30_000))]
    #[case::tail_verdict(Some(with_tail(1, "Unknown")), with_tail(2, "TooHigh"), Some(100_000))]
    #[case::a_verdict(Some(applied()), with_verdict(), Some(100_000))]
    #[case::clients(Some(applied()), with_clients(7), Some(100_000))]
    fn status_is_written_when_due(
        #[case] current: Option<SamplingPolicyStatus>,
        #[case] desired: SamplingPolicyStatus,
        #[case] expected: Option<u64>,
    ) {
        let written = Instant::now();
        let now = written + Duration::from_secs(100);
        let known = change(current.as_ref(), &desired, written);
        let due = write_time(&known, &mut None, now);
        let after = due.map(|at| at - written);
        assert_eq!(after, expected.map(Duration::from_millis));
    }

    #[test]
    fn settle_delay_starts_at_the_first_change() {
        let (current, converging) = (applied(), pending(2));
        let written = Instant::now();
        let start = written + MIN_WRITE_INTERVAL;
        let known = change(Some(&current), &converging, written);
        let mut differs_since = None;
        for later in [0, 50, 150] {
            let now = start + Duration::from_millis(later);
            assert_eq!(
                write_time(&known, &mut differs_since, now),
                Some(start + SETTLE_DELAY)
            );
        }
    }

    #[test]
    fn waits_for_reconnects_unless_policy_changed() {
        let began = Instant::now();
        let start = began + MIN_WRITE_INTERVAL;
        let until = start + Duration::from_secs(10);
        let current = applied();
        for (generation, expected) in [(1, until), (2, start + SETTLE_DELAY)] {
            let desired = pending(generation);
            let known = StatusChange {
                current: Some(&current),
                desired: &desired,
                written: began,
                reconnect_until: until,
                observed_interval: OBSERVED_INTERVAL,
            };
            assert_eq!(write_time(&known, &mut None, start), Some(expected));
        }
    }

    #[test]
    fn flapping_conditions_are_written_at_intervals() {
        let start = Instant::now();
        let (current, desired) = (pending(1), applied());
        let known = change(Some(&current), &desired, start);
        assert_eq!(
            write_time(&known, &mut None, start),
            Some(start + MIN_WRITE_INTERVAL)
        );
    }

    #[test]
    fn client_counts_are_written_at_intervals() {
        let start = Instant::now();
        let (current, desired) = (applied(), with_clients(7));
        let known = change(Some(&current), &desired, start);
        assert_eq!(
            write_time(&known, &mut None, start),
            Some(start + MIN_DETAIL_WRITE_INTERVAL)
        );
    }
}
