#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_new_connection_waits_for_its_peer() {
    let waiting = Activity::new(&Arc::default(), &Arc::default())
        .waiting()
        .unwrap();
    assert!(!waiting.has_responded && !waiting.has_requests);
}

#[test]
fn one_busy_request_makes_the_connection_busy() {
    let activity = Activity::new(&Arc::default(), &Arc::default());
    let (one, other) = (activity.begin(), activity.begin());
    one.set_waiting_for_server(false);
    assert_eq!(activity.waiting(), None);
    other.set_waiting_for_server(false);
    assert!(activity.waiting().unwrap().has_requests);
    one.set_waiting_for_server(true);
    assert_eq!(activity.waiting(), None);
    drop((one, other));
    let waiting = activity.waiting().unwrap();
    assert!(waiting.has_responded && !waiting.has_requests);
}

#[test]
fn a_connection_is_busy_while_it_has_requests() {
    let busy: Arc<Total> = Arc::default();
    let connections = [(); 2].map(|()| Activity::new(&Arc::default(), &busy));
    let requests = [0, 0, 1].map(|at: usize| connections[at].begin());
    assert_eq!(busy.get(), 2);
    let [one, other, last] = requests;
    drop((one, last));
    assert_eq!(busy.get(), 1);
    drop(other);
    assert_eq!(busy.get(), 0);
}

#[test]
fn a_head_is_unfinished_until_its_request_begins() {
    let totals: Arc<Totals> = Arc::default();
    let activity = Activity::new(&totals, &Arc::default());
    assert_eq!(totals.unfinished_heads.get(), 0);
    activity.receive(1);
    assert!(activity.waiting().unwrap().has_unfinished_head);
    assert_eq!(totals.unfinished_heads.get(), 1);
    let request = activity.begin();
    assert_eq!(totals.unfinished_heads.get(), 0);
    // The body.
    activity.receive(READ_BUFFER_BYTES);
    drop(request);
    assert_eq!(totals.unfinished_heads.get(), 0);
    activity.receive(1);
    assert_eq!(totals.unfinished_heads.get(), 1);
    drop(activity);
    assert_eq!(totals.unfinished_heads.get(), 0);
}

#[test]
fn a_pipelined_head_is_unfinished() {
    let totals: Arc<Totals> = Arc::default();
    let activity = Activity::new(&totals, &Arc::default());
    activity.receive(READ_BUFFER_BYTES + 1);
    drop(activity.begin());
    assert_eq!(totals.unfinished_heads.get(), 1);
    activity.close();
    assert_eq!(totals.unfinished_heads.get(), 0);
}

#[test]
fn head_counts_until_removed_or_dropped() {
    let totals: Arc<Totals> = Arc::default();
    let activity = Activity::new(&totals, &Arc::default());
    let (one, other) = (activity.begin(), activity.begin());
    one.add_head(10);
    other.add_head(5);
    assert_eq!(totals.head_bytes.get(), 15);
    one.remove_head();
    drop(one);
    assert_eq!(totals.head_bytes.get(), 5);
    drop(other);
    assert_eq!(totals.head_bytes.get(), 0);
}

#[test]
fn no_next_check_after_the_longest_wait() {
    let activity = Activity::new(&Arc::default(), &Arc::default());
    let none = Limits {
        header_timeout: Duration::ZERO,
        ..Limits::default()
    };
    assert_eq!(activity.next_check(&none), None);
    assert!(activity.next_check(&Limits::default()).is_some());
}

#[test]
fn peer_that_reads_a_few_bytes_is_stalled() {
    let activity = Activity::new(&Arc::default(), &Arc::default());
    let request = activity.begin();
    request.add_unread(1 << 20);
    let later = Instant::now() + MAX_READ_PAUSE + Duration::from_millis(1);
    std::thread::sleep(Duration::from_millis(5));
    request.record_read(MIN_READ_BYTES - 1);
    assert!(activity.unread(later).is_stalled);
    request.record_read(1);
    assert!(!activity.unread(later).is_stalled);
}
