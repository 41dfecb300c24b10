#![allow(clippy::unwrap_used)]

use std::{cell::Cell, ops::Range};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;

use super::{query::SPANS_BETWEEN_CHECKS, *};

/// For each number, stores a trace that has one span without a service.
fn insert(store: &TraceStore, numbers: Range<u64>) {
    let request = request(numbers);
    store.accept(&request, &KeepReason::NoPolicy).unwrap();
}

/// A request with these traces.
pub(super) fn request(numbers: Range<u64>) -> Vec<u8> {
    let spans = numbers.map(|number| Span {
        trace_id: u128::from(number).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        name: "GET /".to_owned(),
        start_time_unix_nano: number,
        ..Span::default()
    });
    let scope_spans = vec![ScopeSpans {
        spans: spans.collect(),
        ..ScopeSpans::default()
    }];
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans,
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn everything() -> Search {
    Search {
        limit: usize::MAX,
        ..Search::default()
    }
}

#[test]
fn search_stops_within_a_segment() {
    let store = TraceStore::new(64 << 20);
    let spans = 2 * SPANS_BETWEEN_CHECKS as u64;
    insert(&store, 1..spans + 1);
    assert_eq!(store.snapshot().newest_first().count(), 1);
    // The first check is before the segment, the second before its first spans.
    let checks = Cell::new(0);
    let proceed = || checks.replace(checks.get() + 1) < 2;
    assert_eq!(store.find_while(&everything(), &proceed), None);
    let found = store.find_while(&everything(), &|| true).unwrap();
    assert_eq!(found.len() as u64, spans);
}

#[test]
fn search_leaves_out_traces_evicted_meanwhile() {
    let store = TraceStore::new(1 << 20);
    insert(&store, 1..1_000);
    let snapshot = store.snapshot();
    assert!(snapshot.newest_first().count() > 2);
    let proceed = || true;
    let found = query::find(&snapshot, &everything(), &proceed).unwrap();
    assert_eq!(found.len(), 999);
    insert(&store, 1_000..50_000);
    // Only the copy of the segment that was not sealed is left.
    let (_, left) = snapshot.newest_first().next().unwrap();
    assert_eq!(snapshot.newest_first().count(), 1);
    let found = query::find(&snapshot, &everything(), &proceed).unwrap();
    assert_eq!(found.len(), left.traces.len());
    assert!(found.len() < 999);
}

#[test]
fn root_operations_are_unknown_after_the_deadline() {
    let store = TraceStore::new(1 << 20);
    insert(&store, 1..2);
    let now = Instant::now();
    assert_eq!(store.root_operations(now, "", 1), None);
    let later = now + Duration::from_secs(3600);
    let names = store.root_operations(later, "", 1);
    assert_eq!(names, Some(BTreeSet::from(["GET /".to_owned()])));
    assert_eq!(store.root_operations(later, "", 0), None);
}
