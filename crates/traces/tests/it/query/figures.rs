//! Figures of services, computed from the stored traces.

use std::time::Duration;

use spoor_traces::{
    TraceStore,
    query::{Queries, parameters::now},
};

use crate::spans::{MS, a_to_b, insert};

#[tokio::test]
async fn figures_are_of_recent_requests() {
    let store = TraceStore::new(64 << 20);
    let recent = now() / MS - 10_000;
    insert(&store, a_to_b(1, recent, 100, true));
    insert(&store, a_to_b(2, recent - 3_600_000, 100, false));
    let queries = Queries::new(store);
    let figures = queries.figures(Duration::from_secs(60)).await.unwrap();
    assert_eq!((figures.traces, figures.is_partial), (1, false));
    assert_eq!(figures.period, Duration::from_secs(60));
    let names: Vec<&str> = figures.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["service-a", "service-b"]);
    // The threshold of its root is c: it was kept with a probability of 25 %.
    let root = &figures.services["service-a"].operations["GET /"];
    assert!((root.requests.count - 4.0).abs() < 1e-9);
    assert!((root.requests.errors - 4.0).abs() < 1e-9);
    let calls: Vec<_> = figures.calls.keys().collect();
    assert_eq!(calls, [&("service-a".to_owned(), "service-b".to_owned())]);
}
