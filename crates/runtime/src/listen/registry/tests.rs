use std::time::Duration;

use super::*;

fn registry_of(count: usize) -> (Registry, Vec<Arc<Activity>>) {
    let registry = Registry::new(Bounds {
        connections: count,
        unread_bytes: 100,
        unfinished_heads: 1,
        head_bytes: 100,
    });
    let activity = |_| registry.new_activity(&Arc::default());
    let activities = (0..count).map(activity).collect();
    (registry, activities)
}

fn add_all<'a>(registry: &'a Registry, activities: &[Arc<Activity>]) -> Vec<Registration<'a>> {
    let add = |activity| registry.add(1, Arc::clone(activity));
    activities.iter().map(add).collect()
}

/// The indices of the connections that are closing.
fn closing(activities: &[Arc<Activity>]) -> Vec<usize> {
    let is_closing = |at: &usize| activities[*at].is_closing();
    (0..activities.len()).filter(is_closing).collect()
}

#[test]
fn connection_without_a_response_is_closed_first() {
    let (registry, activities) = registry_of(2);
    let _registrations = add_all(&registry, &activities);
    drop(activities[0].begin());
    evict(&registry.open.lock(), |_, _| true);
    assert_eq!(closing(&activities), [1]);
}

#[test]
fn new_connection_is_not_closed_for_another() {
    let (registry, activities) = registry_of(2);
    let _registrations = add_all(&registry, &activities);
    let _request = activities[0].begin();
    registry.limit_connections();
    assert!(closing(&activities).is_empty());
}

#[test]
fn flood_of_new_connections_closes_no_other() {
    let (registry, activities) = registry_of(4);
    let _registrations = add_all(&registry, &activities);
    drop(activities[0].begin());
    registry.limit_connections();
    assert_eq!(closing(&activities), [1]);
}

#[test]
fn busy_connections_end_for_another() {
    let (registry, activities) = registry_of(2);
    let _registrations = add_all(&registry, &activities);
    let _request = activities[0].begin();
    assert_eq!(registry.make_room(|_| true), 1);
    assert_eq!(registry.make_room(|_| true), 0, "the other is new");
    assert!(closing(&activities).is_empty());
}

#[test]
fn busy_connection_is_not_closed() {
    let (registry, activities) = registry_of(1);
    let _registration = registry.add(1, Arc::clone(&activities[0]));
    let _request = activities[0].begin();
    assert_eq!(evict(&registry.open.lock(), |_, _| true), 0);
}

#[test]
fn closes_connection_with_most_waiting_requests() {
    let (registry, activities) = registry_of(2);
    let _registrations = add_all(&registry, &activities);
    let requests = [0, 1, 1, 1].map(|at: usize| activities[at].begin());
    // The last request waits for the server.
    requests[..3]
        .iter()
        .for_each(|request| request.set_waiting_for_server(false));
    registry.evict_requests(2);
    assert!(!activities[1].is_closing());
    registry.evict_requests(1);
    assert_eq!(closing(&activities), [1]);
}

#[test]
fn connection_with_a_request_is_closed_last() {
    let (registry, activities) = registry_of(2);
    let _registrations = add_all(&registry, &activities);
    let request = activities[0].begin();
    request.set_waiting_for_server(false);
    drop(activities[1].begin());
    registry.limit_connections();
    assert_eq!(closing(&activities), [1]);
}

#[test]
fn nothing_is_closed_while_there_is_room() {
    let (registry, activities) = registry_of(2);
    let _registration = registry.add(1, Arc::clone(&activities[0]));
    registry.limit_connections();
    assert!(!activities[0].is_closing());
}

#[test]
fn the_oldest_unfinished_head_is_closed() {
    let (registry, activities) = registry_of(4);
    let _registrations = add_all(&registry, &activities);
    activities[3].receive(1);
    registry.limit_heads();
    assert!(!activities[3].is_closing());
    activities[1].receive(1);
    registry.limit_heads();
    assert_eq!(closing(&activities), [1]);
}

#[test]
fn closes_connection_with_most_head_bytes() {
    let (registry, activities) = registry_of(3);
    let _registrations = add_all(&registry, &activities);
    let requests: Vec<_> = activities.iter().map(|it| it.begin()).collect();
    for (request, bytes) in requests.iter().zip([2, 60, 38]) {
        request.add_head(bytes);
    }
    registry.limit_head_bytes();
    assert_eq!(closing(&activities), [0; 0]);
    requests[0].add_head(1);
    registry.limit_head_bytes();
    assert_eq!(closing(&activities), [1]);
    // The bytes of a closing connection no longer count.
    requests[0].add_head(1);
    registry.limit_head_bytes();
    assert_eq!(closing(&activities), [1]);
}

/// The connections that are closed after a pause without reads, given the lengths of the unread
/// responses on each.
fn closed_after(pause: Duration, unread: &[Vec<usize>]) -> Vec<usize> {
    let (registry, activities) = registry_of(unread.len());
    let (mut registrations, mut requests) = (Vec::new(), Vec::new());
    for (activity, unread) in activities.iter().zip(unread) {
        registrations.push(registry.add(1, Arc::clone(activity)));
        for bytes in unread {
            let request = activity.begin();
            request.add_unread(*bytes);
            requests.push(request);
        }
    }
    registry.limit_unread_at(Instant::now() + pause);
    closing(&activities)
}

#[rstest::rstest]
#[case::within_the_bound(vec![vec![60], vec![40]], vec![])]
#[case::one_response_may_exceed_it(vec![vec![500]], vec![])]
#[case::other_responses_within_the_bound(vec![vec![500], vec![60], vec![40]], vec![])]
#[case::several_on_one_connection(vec![vec![60, 60], vec![1]], vec![0])]
#[case::the_most_bytes_go_first(vec![vec![30], vec![50], vec![40], vec![60]], vec![1])]
fn unread_bytes_are_bounded(#[case] unread: Vec<Vec<usize>>, #[case] closed: Vec<usize>) {
    assert_eq!(closed_after(Duration::ZERO, &unread), closed);
}

#[rstest::rstest]
#[case(vec![vec![500]], vec![0])]
#[case(vec![vec![60], vec![50], vec![40]], vec![0])]
fn a_stalled_response_is_not_exempt(#[case] unread: Vec<Vec<usize>>, #[case] closed: Vec<usize>) {
    assert_eq!(closed_after(Duration::from_secs(60), &unread), closed);
}

#[test]
fn a_quarter_of_the_descriptors_stays_free() {
    assert_eq!(connections_within(1024), 768);
    assert_eq!(connections_within(0), 1);
}
