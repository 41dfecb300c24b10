//! The content of a Lease, and the action that it calls for.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::leadership::Candidate;

/// A lease, and the time at which it was first observed with its present content.
#[derive(Clone, Debug)]
pub(super) struct ObservedLease {
    pub(super) lease: Lease,
    pub(super) since: Instant,
}

/// The action that a candidate should take.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LeaseAction {
    /// There is no Lease: create it.
    Create,
    /// Acquire or renew it.
    Hold(Box<Lease>),
    /// Wait, since another candidate holds it.
    Wait,
    /// Step down, since another candidate took it from this one.
    StepDown { to: String },
}

impl ObservedLease {
    pub(super) fn observe(lease: Lease, now: Instant, before: Option<Self>) -> Self {
        let since = match before {
            Some(before) if before.lease.spec == lease.spec => before.since,
            _ => now,
        };
        Self { lease, since }
    }

    pub(super) fn holder(&self) -> Option<&str> {
        let holder = self.lease.spec.as_ref()?.holder_identity.as_deref()?;
        (!holder.is_empty()).then_some(holder)
    }

    /// The duration that its holder wrote; zero if there is none.
    fn duration(&self) -> Duration {
        let spec = self.lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        Duration::from_secs(seconds.and_then(|it| u64::try_from(it).ok()).unwrap_or(0))
    }
}

pub(super) fn next_action(
    observed: Option<&ObservedLease>,
    me: &str,
    was_leader: bool,
    now: Instant,
) -> LeaseAction {
    let Some(observed) = observed else {
        return LeaseAction::Create;
    };
    let hold = || LeaseAction::Hold(Box::new(observed.lease.clone()));
    match observed.holder() {
        None => hold(),
        Some(holder) if holder == me => hold(),
        // Even if that lease has expired: its holder may still act as the leader.
        Some(holder) if was_leader => LeaseAction::StepDown {
            to: holder.to_owned(),
        },
        // The duration in the Lease counts, since it is the one that its holder relies on.
        Some(_) if now.saturating_duration_since(observed.since) > observed.duration() => hold(),
        Some(_) => LeaseAction::Wait,
    }
}

/// A new lease.
pub(super) fn created(candidate: &Candidate, now: Timestamp) -> Lease {
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(candidate.name.clone()),
            namespace: Some(candidate.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    };
    held(lease, candidate, now)
}

/// The lease, acquired or renewed by this candidate.
pub(super) fn held(mut lease: Lease, candidate: &Candidate, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    let is_mine = before.holder_identity.as_deref() == Some(candidate.identity.as_str());
    let seconds = candidate.timing.duration.as_secs().max(1);
    let transitions = before.lease_transitions.unwrap_or(0);
    let is_taken_over = !is_mine && before.acquire_time.is_some();
    let acquired = before.acquire_time.filter(|_| is_mine);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        acquire_time: acquired.or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.saturating_add(i32::from(is_taken_over))),
        ..before
    });
    lease
}

/// The lease without a holder, free for any candidate.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
        // The value that client-go writes on a release. The API server refuses a duration of 0.
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(now));
    }
    lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::leadership::Timing;

    const DURATION: Duration = Duration::from_secs(15);

    fn candidate(identity: &str) -> Candidate {
        Candidate {
            namespace: "spoor".to_owned(),
            name: "spoor-policies".to_owned(),
            identity: identity.to_owned(),
            timing: Timing::default(),
        }
    }

    fn lease_of(identity: &str) -> Lease {
        created(&candidate(identity), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn creates_a_missing_lease() {
        assert_eq!(
            next_action(None, "a", false, Instant::now()),
            LeaseAction::Create
        );
    }

    #[test]
    fn waits_until_the_lease_expires() {
        let start = Instant::now();
        let seen = ObservedLease::observe(lease_of("b"), start, None);
        assert_eq!(
            next_action(Some(&seen), "a", false, start + DURATION),
            LeaseAction::Wait
        );
        let later = start + DURATION + Duration::from_millis(1);
        assert!(matches!(
            next_action(Some(&seen), "a", false, later),
            LeaseAction::Hold(_)
        ));
        let renewed = held(lease_of("b"), &candidate("b"), Timestamp::MAX);
        let seen = ObservedLease::observe(renewed, later, Some(seen));
        assert_eq!(
            next_action(Some(&seen), "a", false, later),
            LeaseAction::Wait
        );
    }

    /// The holder's clock may be years off: only the time at which the lease was seen to change counts.
    #[test]
    fn ignores_the_holders_clock() {
        let start = Instant::now();
        for renewed in [Timestamp::UNIX_EPOCH, Timestamp::now(), Timestamp::MAX] {
            let lease = held(lease_of("b"), &candidate("b"), renewed);
            let seen = ObservedLease::observe(lease.clone(), start, None);
            let seen = ObservedLease::observe(lease, start + DURATION, Some(seen));
            assert_eq!(
                next_action(Some(&seen), "a", false, start + DURATION),
                LeaseAction::Wait
            );
            let later = start + DURATION * 2;
            assert!(matches!(
                next_action(Some(&seen), "a", false, later),
                LeaseAction::Hold(_)
            ));
        }
    }

    #[test]
    fn leader_steps_down_even_for_an_expired_lease() {
        let start = Instant::now();
        let seen = ObservedLease::observe(lease_of("b"), start, None);
        let to = "b".to_owned();
        let expected = LeaseAction::StepDown { to };
        assert_eq!(
            next_action(Some(&seen), "a", true, start + DURATION * 9),
            expected
        );
    }

    #[test]
    fn renews_its_own_lease_however_late() {
        let start = Instant::now();
        let seen = ObservedLease::observe(lease_of("a"), start, None);
        let late = start + DURATION * 9;
        assert!(matches!(
            next_action(Some(&seen), "a", true, late),
            LeaseAction::Hold(_)
        ));
    }

    #[test]
    fn released_lease_is_acquired_at_once() {
        let released = released(lease_of("b"), Timestamp::now());
        let start = Instant::now();
        let seen = ObservedLease::observe(released.clone(), start, None);
        assert!(matches!(
            next_action(Some(&seen), "a", false, start),
            LeaseAction::Hold(_)
        ));
        let taken = held(released, &candidate("a"), Timestamp::now());
        let spec = taken.spec.unwrap_or_default();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!(spec.lease_transitions, Some(1));
    }

    #[test]
    fn renewal_changes_only_the_renew_time() {
        let before = lease_of("a");
        let after = held(before.clone(), &candidate("a"), Timestamp::MAX);
        let mut spec = after.spec.unwrap_or_default();
        assert_eq!(spec.renew_time, Some(MicroTime(Timestamp::MAX)));
        spec.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert_eq!(Some(spec), before.spec);
    }
}
