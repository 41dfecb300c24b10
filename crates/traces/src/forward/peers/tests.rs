//! Reports of peers, and the end of former rings.

#![allow(clippy::unwrap_used)]

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MAX_TRACE_DURATION: Duration = Duration::from_secs(30);

/// Sampler 0 with these rings.
fn peers(members: &[u32]) -> Peers {
    let settings = PeerSettings {
        own: 0,
        rings: Some(Rings::new(1, members).unwrap()),
    };
    Peers::new(&settings, MAX_TRACE_DURATION, 100 << 20, None)
}

fn later(now: Instant, seconds: u32) -> Instant {
    now + SECOND * seconds
}

#[test]
fn one_member_waits_for_no_one() {
    let peers = peers(&[1]);
    assert_eq!(peers.decision_time(Instant::now()), None);
    assert_eq!(peers.unreported_since(), None);
}

#[test]
fn decisions_wait_for_the_last_peer() {
    let mut peers = peers(&[3]);
    let start = later(Instant::now(), 100);
    let now = later(start, 50);
    let earliest = Some(later(start, 20));
    assert_eq!(peers.decision_time(now), earliest);
    peers.record_report(1, later(start, 49), now);
    assert_eq!(peers.decision_time(now), earliest);
    peers.record_report(2, later(start, 47), now);
    assert_eq!(peers.decision_time(now), Some(later(start, 47)));
    // It may go back.
    peers.record_report(1, later(start, 40), now);
    assert_eq!(peers.decision_time(now), Some(later(start, 40)));
    // A peer that is unavailable delays decisions for a bounded time.
    assert_eq!(
        peers.decision_time(later(now, 100)),
        Some(later(start, 120))
    );
    peers.record_report(1, later(start, 70), now);
    peers.record_report(2, later(start, 70), now);
    assert_eq!(peers.decision_time(now), Some(now));
}

#[test]
fn former_members_count_while_they_have_spans() {
    let mut peers = peers(&[1]);
    let start = later(Instant::now(), 100);
    let now = later(start, 10);
    peers.record_report(2, later(start, 4), later(start, 9));
    assert_eq!(peers.decision_time(now), Some(later(start, 4)));
    // The time of the response to the first report: nothing was pending.
    peers.record_report(2, later(start, 9), now);
    assert_eq!(peers.decision_time(now), None);
    peers.record_report(2, later(start, 8), now);
    assert_eq!(peers.decision_time(now), Some(later(start, 8)));
    // It does not respond any more.
    assert_eq!(peers.decision_time(later(start, 40)), None);
}

#[test]
fn peers_that_have_not_reported_count() {
    let settings = PeerSettings {
        own: 2,
        rings: None,
    };
    let now = Instant::now();
    let mut peers = Peers::new(&settings, MAX_TRACE_DURATION, 100 << 20, Some(now));
    assert!(peers.adopt(Rings::new(1, &[3]).unwrap()));
    peers.record_report(0, now, now);
    assert_eq!(peers.unreported_since(), Some(now));
    peers.record_report(1, now, now);
    assert_eq!(peers.unreported_since(), None);
}

#[test]
fn rings_are_needed_to_be_a_member() {
    let settings = PeerSettings {
        own: 2,
        rings: None,
    };
    let mut peers = Peers::new(&settings, MAX_TRACE_DURATION, 100 << 20, None);
    assert!(!peers.is_member());
    assert!(peers.adopt(Rings::new(5, &[3]).unwrap()));
    assert!(peers.is_member());
    assert!(!peers.adopt(Rings::new(4, &[1]).unwrap()));
    assert_eq!(peers.others().collect::<Vec<_>>(), [0, 1]);
    assert!(peers.adopt(Rings::new(6, &[2]).unwrap()));
    assert!(!peers.is_member());
}

#[test]
fn room_is_divided_by_the_peers() {
    let bytes = |members: &[u32]| peers(members).max_pending_bytes();
    let all = 20 << 20;
    assert_eq!(bytes(&[1]), all);
    assert_eq!(bytes(&[2]), all);
    assert_eq!(bytes(&[3]), all / 2);
    assert_eq!(bytes(&[3, 2]), all / 4);
}

#[test]
fn saturated_samplers_are_forgotten() {
    let mut peers = peers(&[3]);
    let now = Instant::now();
    peers.set_saturated(1, 0b100, now);
    peers.set_saturated(2, 0b10, later(now, 4));
    assert_eq!(peers.saturated(later(now, 4)), 0b110);
    assert_eq!(peers.saturated(later(now, 6)), 0b10);
    peers.set_saturated(2, 0, later(now, 6));
    assert_eq!(peers.saturated(later(now, 6)), 0);
}

#[test]
fn rings_settle_after_the_last_earlier_trace() {
    let mut settling = Settling::default();
    let start = Instant::now();
    let follow = |settling: &mut Settling, seconds, is_waiting: bool| {
        settling.update(later(start, seconds), |segment| {
            assert!([7, 9].contains(&segment));
            is_waiting
        });
        settling.settled
    };
    settling.begin(5, 7);
    assert_eq!(follow(&mut settling, 1, true), 0);
    assert_eq!(follow(&mut settling, 1_000, false), 0);
    // Later traces do not matter.
    assert_eq!(follow(&mut settling, 1_001, true), 0);
    assert_eq!(follow(&mut settling, 1_599, false), 0);
    assert_eq!(follow(&mut settling, 1_600, false), 5);
    settling.begin(6, 9);
    assert_eq!(follow(&mut settling, 1_700, false), 5);
    assert_eq!(follow(&mut settling, 2_300, false), 6);
}
