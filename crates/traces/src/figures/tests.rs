//! Figures of small traces.

#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ScopeSpans, Span, Status, status::StatusCode},
};
use rstest::rstest;

use super::*;

const MS: u64 = 1_000_000;

fn batch(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let name = Value::StringValue(service.to_owned());
    let attribute = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(name) }),
        ..KeyValue::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// A server span that starts after 10 ms. A parent of 0 means none.
fn span(id: u8, parent: u8, name: &str, millis: u64) -> Span {
    Span {
        span_id: vec![id; 8],
        parent_span_id: vec![parent; 8],
        name: name.to_owned(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: 10 * MS,
        end_time_unix_nano: (10 + millis) * MS,
        ..Span::default()
    }
}

fn failed(span: Span) -> Span {
    let status = Status {
        code: StatusCode::Error as i32,
        ..Status::default()
    };
    Span {
        status: Some(status),
        ..span
    }
}

fn id(number: u128) -> TraceId {
    TraceId::from_bytes(number.to_be_bytes())
}

fn builder() -> FiguresBuilder {
    FiguresBuilder::new(0..=1_000 * MS)
}

fn counted(state: &str, kept: Option<&KeepReason>) -> f64 {
    let mut builder = builder();
    let span = Span {
        trace_state: state.to_owned(),
        ..span(1, 0, "GET /", 5)
    };
    builder.add(id(1), vec![batch("a", vec![span])], kept);
    builder.finish(false).services["a"].total.count
}

#[rstest]
#[case("", 1.0)]
#[case("ot=th:0", 1.0)]
#[case("ot=th:8", 2.0)]
#[case("ot=th:e6666666666666", 10.0)]
#[case("ot=th:nonsense", 1.0)]
fn request_counts_by_its_threshold(#[case] state: &str, #[case] expected: f64) {
    let count = counted(state, None);
    assert!((count - expected).abs() < 1e-6, "{count}");
}

#[rstest]
#[case("ot=th:0", 4.0)]
#[case("ot=th:f", 16.0)]
fn smaller_share_of_head_and_tail_counts(#[case] state: &str, #[case] expected: f64) {
    let kept = KeepReason::Otherwise {
        policy: "a".parse().unwrap(),
        rate: "25%".parse().unwrap(),
    };
    let count = counted(state, Some(&kept));
    assert!((count - expected).abs() < 1e-6, "{count}");
}

#[test]
fn only_requests_in_the_window_count() {
    let mut builder = FiguresBuilder::new(5 * MS..=20 * MS);
    let client = Span {
        kind: SpanKind::Client as i32,
        ..span(2, 1, "call", 5)
    };
    let early = Span {
        start_time_unix_nano: 0,
        ..span(3, 1, "early", 5)
    };
    let spans = vec![span(1, 0, "GET /", 5), client, early];
    builder.add(id(1), vec![batch("a", spans)], None);
    let figures = builder.finish(false);
    let operations: Vec<_> = figures.services["a"].operations.keys().collect();
    assert_eq!(operations, ["GET /"]);
    assert_eq!(figures.period, Duration::from_millis(15));
}

#[test]
fn calls_have_their_errors() {
    let mut builder = builder();
    let callee = batch(
        "b",
        vec![failed(span(2, 1, "get", 5)), span(3, 1, "put", 5)],
    );
    builder.add(
        id(1),
        vec![batch("a", vec![span(1, 0, "GET /", 9)]), callee],
        None,
    );
    let figures = builder.finish(false);
    let call = CallFigures {
        count: 2.0,
        errors: 1.0,
    };
    let expected = [(("a".to_owned(), "b".to_owned()), call)];
    assert_eq!(figures.calls, expected.into());
    assert!(figures.services["b"].total.errors > 0.5);
}

#[test]
fn exemplars_are_the_slowest_and_failed() {
    let mut builder = builder();
    for number in 1..=10 {
        let mut request = span(1, 0, "GET /", number);
        if number == 4 {
            request = failed(request);
        }
        builder.add(id(number.into()), vec![batch("a", vec![request])], None);
    }
    let figures = builder.finish(false);
    let operation = &figures.services["a"].operations["GET /"];
    let ids = |exemplars: &[Exemplar]| exemplars.iter().map(|it| it.id).collect::<Vec<_>>();
    assert_eq!(ids(&operation.slowest), [id(10), id(9), id(8)]);
    assert_eq!(ids(&operation.failed), [id(4)]);
}

#[test]
fn names_beyond_the_limits_share_an_entry() {
    let mut builder = builder();
    for number in 0..2 * MAX_OPERATIONS as u64 {
        let service = format!("service-{}", number % (2 * MAX_SERVICES as u64));
        let request = span(1, 0, &format!("operation-{number}"), 1);
        builder.add(
            id(number.into()),
            vec![batch(&service, vec![request])],
            None,
        );
    }
    let figures = builder.finish(false);
    assert_eq!(figures.services.len(), MAX_SERVICES + 1);
    let operations = figures.services.values().map(|it| it.operations.len());
    assert!(operations.sum::<usize>() <= MAX_OPERATIONS + MAX_SERVICES + 1);
    let count: f64 = figures.services.values().map(|it| it.total.count).sum();
    assert!(
        (count - 2.0 * MAX_OPERATIONS as f64).abs() < 1e-6,
        "{count}"
    );
}

#[test]
fn partial_figures_cover_a_shorter_period() {
    let mut builder = builder();
    builder.add(id(1), vec![batch("a", vec![span(1, 0, "GET /", 5)])], None);
    let figures = builder.finish(true);
    assert!(figures.is_partial);
    assert_eq!(figures.period, Duration::from_millis(990));
}
