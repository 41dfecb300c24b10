//! The store: searches and evictions.

use std::{collections::BTreeMap, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::{InstrumentationScope, KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use spoor_traces::{KeepReason, Search, StoredOperation, TraceId, TraceStore};

use crate::spans::{MS, attribute, batch, insert, insert_kept, span, text, trace_id};

fn id(number: u64) -> TraceId {
    TraceId::from_bytes(trace_id(number).try_into().unwrap())
}

const SERVICES: [&str; 3] = ["a", "b", "c"];
const NAMES: [&str; 3] = ["GET /", "work", "ü"];

fn arbitrary_span() -> impl Strategy<Value = (&'static str, Span)> {
    let attributes = vec(
        prop_oneof![
            select(&["x", "y"][..]).prop_map(|value| text("key", value)),
            (199..202i64).prop_map(|number| attribute("code", Value::IntValue(number))),
            any::<bool>().prop_map(|flag| attribute("flag", Value::BoolValue(flag))),
            Just(attribute("share", Value::DoubleValue(0.5))),
        ],
        0..3,
    );
    let parts = (
        1..12u64,
        select(&NAMES[..]),
        0..100u64,
        0..30u64,
        0..6i32,
        any::<bool>(),
    );
    (select(&SERVICES[..]), parts, attributes).prop_map(|(service, parts, attributes)| {
        let (trace, name, start, duration, kind, fails) = parts;
        let made = Span {
            attributes,
            kind,
            status: fails.then(|| Status {
                code: 2,
                ..Status::default()
            }),
            ..span(trace, start + 1, 0, name, start, start + duration)
        };
        (service, made)
    })
}

fn search() -> impl Strategy<Value = Search> {
    let tags = vec(
        select(
            &[
                ("key", "x"),
                ("code", "200"),
                ("flag", "true"),
                ("share", "0.5"),
                ("error", "true"),
                ("error", "false"),
                ("span.kind", "server"),
                ("service.name", "a"),
                ("key", "nothing"),
            ][..],
        )
        .prop_map(|(key, value)| (key.to_owned(), value.to_owned())),
        0..3,
    );
    (
        option::of(select(&["a", "b", "other"][..]).prop_map(str::to_owned)),
        option::of(select(&["GET /", "ü", "other"][..]).prop_map(str::to_owned)),
        tags,
        (option::of(0..100u64), option::of(0..100u64)),
        (option::of(0..30u64), option::of(0..30u64)),
        1..12usize,
    )
        .prop_map(
            |(service, operation, tags, start, duration, limit)| Search {
                service,
                operation,
                tags,
                start_min: start.0.map(|start| start * MS),
                start_max: start.1.map(|start| start * MS),
                duration_min: duration.0.map(Duration::from_millis),
                duration_max: duration.1.map(Duration::from_millis),
                limit,
            },
        )
}

/// The criteria of a search, one by one.
fn matches(search: &Search, service: &str, span: &Span) -> bool {
    let duration = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
    search.service.as_ref().is_none_or(|name| name == service)
        && search
            .operation
            .as_ref()
            .is_none_or(|name| *name == span.name)
        && search
            .start_min
            .is_none_or(|min| span.start_time_unix_nano >= min)
        && search
            .start_max
            .is_none_or(|max| span.start_time_unix_nano <= max)
        && search.duration_min.is_none_or(|min| duration >= min)
        && search.duration_max.is_none_or(|max| duration <= max)
        && search
            .tags
            .iter()
            .all(|(key, value)| match (key.as_str(), value.as_str()) {
                ("error", value) => value == span.status.is_some().to_string(),
                ("span.kind", _) => span.kind() == SpanKind::Server,
                ("service.name", value) => value == service,
                (key, value) => span
                    .attributes
                    .iter()
                    .any(|pair| pair.key == key && has_value(pair, value)),
            })
}

fn has_value(pair: &KeyValue, text: &str) -> bool {
    match pair.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(found) => found == text,
        Value::BoolValue(found) => found.to_string() == text,
        Value::IntValue(found) => found.to_string() == text,
        Value::DoubleValue(found) => found.to_string() == text,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn search_equals_a_full_scan(spans in vec(arbitrary_span(), 0..120), search in search()) {
        // So small that the spans fill several segments.
        let store = TraceStore::new(512 << 10);
        for (service, span) in &spans {
            insert(&store, vec![batch(service, vec![span.clone()])]);
        }
        let mut starts = BTreeMap::new();
        for (_, span) in &spans {
            let start = starts.entry(span.trace_id.clone()).or_insert(u64::MAX);
            *start = span.start_time_unix_nano.min(*start);
        }
        let mut expected: Vec<u64> = starts
            .iter()
            .filter(|(id, _)| spans.iter().any(|(service, span)| {
                span.trace_id == **id && matches(&search, service, span)
            }))
            .map(|(_, start)| *start)
            .collect();
        expected.sort_unstable_by(|one, other| other.cmp(one));
        expected.truncate(search.limit);
        let found = store.find(&search).into_iter();
        let found: Vec<_> = found.filter_map(|id| store.trace(id)).collect();
        let found_starts: Vec<u64> =
            found.iter().map(|trace| starts[trace.id.to_bytes().as_slice()]).collect();
        prop_assert_eq!(found_starts, expected);
        let mut ids: Vec<_> = found.iter().map(|trace| trace.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), found.len());
        for trace in found {
            let parts = trace.decode();
            for service in SERVICES {
                let is_sent =
                    |(of, span): &&(&str, Span)| *of == service && span.trace_id == trace.id.to_bytes();
                let sent: Vec<_> = spans.iter().filter(is_sent).map(|(_, span)| span).collect();
                let resource = batch(service, vec![]).resource;
                let parts = parts.iter().filter(|part| part.resource == resource);
                let stored = parts.flat_map(|part| &part.scope_spans).flat_map(|part| &part.spans);
                prop_assert_eq!(stored.collect::<Vec<_>>(), sent);
            }
        }
    }
}

#[test]
fn resource_is_not_repeated_for_each_scope() {
    let store = TraceStore::new(1 << 20);
    let mut sent = batch("a", vec![]);
    let filling = text("filling", &"x".repeat(10_000));
    sent.resource.as_mut().unwrap().attributes.push(filling);
    let scope_spans = |number: u64| ScopeSpans {
        scope: Some(InstrumentationScope {
            name: ["even", "odd"][number as usize % 2].to_owned(),
            ..InstrumentationScope::default()
        }),
        spans: vec![span(1, number, 0, "x", number, number + 1)],
        ..ScopeSpans::default()
    };
    sent.scope_spans = (1..=100).map(scope_spans).collect();
    insert(&store, vec![sent.clone()]);
    let stored = store.trace(id(1)).unwrap().decode();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].resource, sent.resource);
    let starts = stored[0].scope_spans.iter().map(|part| {
        let starts = part.spans.iter().map(|span| span.start_time_unix_nano / MS);
        (part.scope.clone().unwrap().name, starts.collect::<Vec<_>>())
    });
    let odd: Vec<u64> = (1..=100).step_by(2).collect();
    let even: Vec<u64> = (2..=100).step_by(2).collect();
    assert_eq!(
        starts.collect::<Vec<_>>(),
        [("odd".to_owned(), odd), ("even".to_owned(), even)]
    );
}

#[test]
fn lists_services_and_operations() {
    let store = TraceStore::new(1 << 20);
    let server = Span {
        kind: SpanKind::Server as i32,
        ..span(1, 1, 0, "GET /", 1, 2)
    };
    insert(
        &store,
        vec![batch("b", vec![server, span(1, 2, 1, "work", 1, 2)])],
    );
    insert(&store, vec![batch("a", vec![span(1, 3, 1, "other", 1, 2)])]);
    assert_eq!(store.services(), ["a", "b"]);
    let operation = |name: &str, kind| StoredOperation {
        name: name.to_owned(),
        kind,
    };
    let both = [
        operation("GET /", SpanKind::Server),
        operation("work", SpanKind::Internal),
    ];
    assert_eq!(store.operations("b", None), both);
    assert_eq!(store.operations("b", Some(SpanKind::Server)), both[..1]);
    assert!(store.operations("c", None).is_empty());
}

#[test]
fn very_long_names_are_not_listed() {
    let store = TraceStore::new(1 << 20);
    let long = "x".repeat(600);
    insert(&store, vec![batch(&long, vec![span(1, 1, 0, "a", 1, 2)])]);
    let names = vec![span(1, 2, 1, &long, 1, 2), span(1, 3, 1, "short", 1, 2)];
    insert(&store, vec![batch("b", names)]);
    assert_eq!(store.services(), ["b"]);
    let operations = store.operations("b", None);
    assert_eq!(operations.len(), 1, "{operations:?}");
    assert_eq!(operations[0].name, "short");
}

fn large(trace: u64, id: u64) -> Vec<ResourceSpans> {
    let filling = text("filling", &"x".repeat(1_000));
    vec![batch(
        "a",
        vec![Span {
            attributes: vec![filling],
            ..span(trace, id, 0, "x", trace, trace + 1)
        }],
    )]
}

#[test]
fn evicts_the_oldest_traces_whole() {
    let max = 1 << 20;
    let store = TraceStore::new(max);
    for number in 1..=3_000 {
        insert(&store, large(number, 1));
        // The first trace gets more spans and remains the oldest.
        if number < 300 {
            insert(&store, large(1, number + 1));
        }
        assert!(store.occupancy().bytes <= max, "{:?}", store.occupancy());
    }
    let occupancy = store.occupancy();
    assert_eq!(occupancy.traces as u64 + occupancy.evicted.traces, 3_000);
    assert_eq!(occupancy.spans as u64 + occupancy.evicted.spans, 3_299);
    assert!(store.len() > 500, "{occupancy:?}");
    // Exactly the newest traces remain.
    let oldest = 3_001 - store.len() as u64;
    for number in 1..=3_000 {
        assert_eq!(
            store.trace(id(number)).is_some(),
            number >= oldest,
            "{number}"
        );
    }
    let everything = Search {
        limit: usize::MAX,
        ..Search::default()
    };
    let found = store.find(&everything);
    assert_eq!(found, (oldest..=3_000).rev().map(id).collect::<Vec<_>>());
}

#[test]
fn spans_of_an_evicted_trace_are_not_found() {
    let store = TraceStore::new(256 << 10);
    insert(&store, large(1, 1));
    for number in 2..=200 {
        insert(&store, large(number, 1));
    }
    let mut last = 200;
    while store.trace(id(1)).is_some() {
        last += 1;
        insert(&store, large(last, 1));
    }
    // A late span does not create it again.
    insert(&store, large(1, 2));
    assert!(store.trace(id(1)).is_none());
    // Later, when its ID is forgotten, a span creates the trace again.
    for number in 1_000..2_000 {
        insert(&store, large(number, 1));
    }
    insert(&store, large(1, 3));
    let stored = store.trace(id(1)).unwrap();
    assert_eq!(stored.decode()[0].scope_spans[0].spans.len(), 1);
}

#[test]
fn span_larger_than_a_segment_is_stored() {
    let store = TraceStore::new(8 << 20);
    let filling = text("filling", &"x".repeat(2 << 20));
    let giant = Span {
        attributes: vec![filling],
        ..span(1, 1, 0, "x", 1, 2)
    };
    let sent = vec![batch("a", vec![giant])];
    insert(&store, sent.clone());
    insert(&store, large(2, 1));
    assert_eq!(store.trace(id(1)).unwrap().decode(), sent);
    assert_eq!(store.find(&Search::default()).len(), 2);
}

#[test]
fn trace_has_its_keep_reason() {
    let store = TraceStore::new(1 << 20);
    insert_kept(&store, large(1, 1), &KeepReason::NoRoot);
    insert_kept(&store, large(1, 2), &KeepReason::NoPolicy);
    assert_eq!(store.trace(id(1)).unwrap().kept, KeepReason::NoRoot);
}

#[test]
fn status_ok_is_found_by_its_tag() {
    let store = TraceStore::new(1 << 20);
    let mut fine = span(1, 1, 0, "fine", 1, 2);
    fine.status = Some(Status {
        code: 1,
        ..Status::default()
    });
    let unset = span(2, 2, 0, "unset", 1, 2);
    insert(&store, vec![batch("s", vec![fine, unset])]);
    let find = |code: &str| {
        let tags = vec![("otel.status_code".to_owned(), code.to_owned())];
        store.find(&Search {
            tags,
            ..Search::default()
        })
    };
    assert_eq!(find("OK"), [id(1)]);
    assert_eq!(find("ERROR"), []);
}

/// If it were stored, a late span would be shown as a complete trace.
#[test]
fn late_spans_do_not_recreate_a_trace() {
    let store = TraceStore::new(256 << 10);
    let filler = "x".repeat(1_000);
    let mut last = 0;
    while store.occupancy().evicted.traces == 0 {
        last += 1;
        let mut one = span(last, 1, 0, "first", 1, 2);
        one.attributes = vec![text("filler", &filler)];
        insert(&store, vec![batch("s", vec![one])]);
    }
    let before = store.occupancy();
    for trace in [1, last] {
        insert(
            &store,
            vec![batch("s", vec![span(trace, 2, 1, "late", 3, 4)])],
        );
    }
    assert!(store.trace(id(1)).is_none());
    assert_eq!(store.occupancy().spans, before.spans + 1);
}

/// A segment compares a new service with the last 64 only, so it stores this one twice.
#[test]
fn service_stored_twice_has_all_operations() {
    let store = TraceStore::new(64 << 20);
    for number in 1..=200_u64 {
        let service = match number % 100 {
            1 => "many".to_owned(),
            _ => number.to_string(),
        };
        let name = format!("op {number}");
        let mut batch = batch(&service, vec![span(number, 1, 0, &name, 1, 2)]);
        let number = text("number", &number.to_string());
        batch.resource.as_mut().unwrap().attributes.push(number);
        insert(&store, vec![batch]);
    }
    let operations = store.operations("many", None).into_iter();
    let names: Vec<String> = operations.map(|it| it.name).collect();
    assert_eq!(names, ["op 1", "op 101"]);
    let search = Search {
        service: Some("many".to_owned()),
        ..Search::default()
    };
    assert_eq!(store.find(&search).len(), 2);
}
