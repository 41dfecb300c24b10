//! What a Lease says, and what is to be done about it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::Candidate;

/// A lease and when it was first seen as it is.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) lease: Lease,
    pub(super) since: Instant,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// There is none: make it.
    Create,
    /// Take it, or renew it.
    Hold(Box<Lease>),
    /// It is another's.
    Wait,
    /// It was this one's and is another's.
    GiveWay { to: String },
}

impl Seen {
    pub(super) fn at(lease: Lease, now: Instant, before: Option<Self>) -> Self {
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

    /// For as long as its holder says; one that does not say has none.
    fn holds_for(&self) -> Duration {
        let spec = self.lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
        Duration::from_secs(seconds.and_then(|it| u64::try_from(it).ok()).unwrap_or(0))
    }
}

pub(super) fn step(seen: Option<&Seen>, me: &str, was_leader: bool, now: Instant) -> Step {
    let Some(seen) = seen else {
        return Step::Create;
    };
    let hold = || Step::Hold(Box::new(seen.lease.clone()));
    match seen.holder() {
        None => hold(),
        Some(holder) if holder == me => hold(),
        Some(holder) if was_leader => Step::GiveWay {
            to: holder.to_owned(),
        },
        Some(_) if now.saturating_duration_since(seen.since) > seen.holds_for() => hold(),
        Some(_) => Step::Wait,
    }
}

/// The lease where there was none.
pub(super) fn first(candidate: &Candidate, now: Timestamp) -> Lease {
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

/// The lease with this candidate as its holder, from now on or still.
pub(super) fn held(mut lease: Lease, candidate: &Candidate, now: Timestamp) -> Lease {
    let before = lease.spec.take().unwrap_or_default();
    let is_mine = before.holder_identity.as_deref() == Some(candidate.identity.as_str());
    let seconds = candidate.timing.duration.as_secs().max(1);
    let transitions = before.lease_transitions.unwrap_or(0);
    let is_taken_over = !is_mine && before.acquire_time.is_some();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(candidate.identity.clone()),
        lease_duration_seconds: i32::try_from(seconds).ok(),
        acquire_time: before
            .acquire_time
            .filter(|_| is_mine)
            .or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.saturating_add(i32::from(is_taken_over))),
        ..before
    });
    lease
}

/// The lease for anybody to take.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(now));
    }
    lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Timing;

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
        first(&candidate(identity), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn without_a_lease_there_is_one_to_make() {
        assert_eq!(step(None, "a", false, Instant::now()), Step::Create);
    }

    #[test]
    fn anothers_lease_is_left_alone_until_it_was_not_renewed_for_long_enough() {
        let start = Instant::now();
        let seen = Seen::at(lease_of("b"), start, None);
        assert_eq!(step(Some(&seen), "a", false, start + DURATION), Step::Wait);
        let later = start + DURATION + Duration::from_millis(1);
        assert!(matches!(
            step(Some(&seen), "a", false, later),
            Step::Hold(_)
        ));
        let renewed = held(lease_of("b"), &candidate("b"), Timestamp::MAX);
        let seen = Seen::at(renewed, later, Some(seen));
        assert_eq!(step(Some(&seen), "a", false, later), Step::Wait);
    }

    /// The holder's clock may be years off: what counts is when its lease was seen to change.
    #[test]
    fn the_holders_clock_does_not_matter() {
        let start = Instant::now();
        for renewed in [Timestamp::UNIX_EPOCH, Timestamp::now(), Timestamp::MAX] {
            let lease = held(lease_of("b"), &candidate("b"), renewed);
            let seen = Seen::at(lease.clone(), start, None);
            let seen = Seen::at(lease, start + DURATION, Some(seen));
            assert_eq!(step(Some(&seen), "a", false, start + DURATION), Step::Wait);
            let later = start + DURATION * 2;
            assert!(matches!(
                step(Some(&seen), "a", false, later),
                Step::Hold(_)
            ));
        }
    }

    #[test]
    fn a_leader_steps_down_before_another_even_one_whose_lease_has_run_out() {
        let start = Instant::now();
        let seen = Seen::at(lease_of("b"), start, None);
        let to = "b".to_owned();
        let expected = Step::GiveWay { to };
        assert_eq!(step(Some(&seen), "a", true, start + DURATION * 9), expected);
    }

    #[test]
    fn ones_own_is_renewed_however_late() {
        let start = Instant::now();
        let seen = Seen::at(lease_of("a"), start, None);
        let late = start + DURATION * 9;
        assert!(matches!(step(Some(&seen), "a", true, late), Step::Hold(_)));
    }

    #[test]
    fn a_lease_that_was_given_up_is_taken_at_once() {
        let released = released(lease_of("b"), Timestamp::now());
        let start = Instant::now();
        let seen = Seen::at(released.clone(), start, None);
        assert!(matches!(
            step(Some(&seen), "a", false, start),
            Step::Hold(_)
        ));
        let taken = held(released, &candidate("a"), Timestamp::now());
        let spec = taken.spec.unwrap_or_default();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!(spec.lease_transitions, Some(1));
    }

    #[test]
    fn a_renewal_changes_when_it_was_renewed_and_nothing_else() {
        let before = lease_of("a");
        let after = held(before.clone(), &candidate("a"), Timestamp::MAX);
        let mut spec = after.spec.unwrap_or_default();
        assert_eq!(spec.renew_time, Some(MicroTime(Timestamp::MAX)));
        spec.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        assert_eq!(Some(spec), before.spec);
    }
}
