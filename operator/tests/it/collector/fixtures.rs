//! Generated traces of every kind that a rule may match.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::Event, status::StatusCode},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// A service whose name tries to break out of the configuration.
pub const HOSTILE_SERVICE: &str = "x\" or true or \"${env:HOME} $$ \\\" 'ü'";
/// A hostile operation.
pub const HOSTILE_OPERATION: &str = "say \\\") or (IsRootSpan() ${file:/etc/hostname}";
/// A hostile attribute key.
pub const HOSTILE_KEY: &str = "a\"] != nil or span.attributes[\"b";

const START_UNIX_NANOS: u64 = 1_800_000_000_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// A trace, in the requests in which it arrives.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub trace_id: Vec<u8>,
    pub resources: Vec<ResourceSpans>,
    /// The recipe of the trace, for messages.
    pub description: String,
}

impl Fixture {
    /// The number of spans.
    pub fn spans(&self) -> usize {
        let scopes = self
            .resources
            .iter()
            .flat_map(|resource| &resource.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    }
}

/// Generates traces, the same ones for the same seed.
pub fn fixtures(count: usize, seed: u64) -> Vec<Fixture> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| fixture(&mut random)).collect()
}

fn one_of<T: Clone>(random: &mut StdRng, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())].clone()
}

/// The place of the attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AttributeAt {
    Root,
    Child,
    /// An event of the root, where it must not count.
    RootEvent,
}

fn fixture(random: &mut StdRng) -> Fixture {
    let trace_id: Vec<u8> = (0..16).map(|_| random.random()).collect();
    let service = one_of(
        random,
        &[
            Some("a"),
            Some("a"),
            Some("b"),
            Some("c"),
            Some(HOSTILE_SERVICE),
            None,
        ],
    );
    let operation = one_of(
        random,
        &["GET /", "GET /", "GET /op", HOSTILE_OPERATION, ""],
    );
    let namespace = one_of(
        random,
        &[None, None, Some("default"), Some(""), Some("elsewhere")],
    );
    // Around the limits of half a second and of 2 ms, in nanoseconds.
    let duration = one_of(
        random,
        &[
            NANOS_PER_MS,
            2 * NANOS_PER_MS - 1,
            2 * NANOS_PER_MS,
            2 * NANOS_PER_MS + 1,
            499 * NANOS_PER_MS,
            500 * NANOS_PER_MS - 1,
            500 * NANOS_PER_MS,
            500 * NANOS_PER_MS + 1,
            500 * NANOS_PER_MS + 900_000,
            501 * NANOS_PER_MS,
            502 * NANOS_PER_MS,
            900 * NANOS_PER_MS,
        ],
    );
    let has_root = random.random_ratio(9, 10);
    let fails = one_of(random, &[None, None, None, None, Some(0), Some(1)]);
    let places = [
        AttributeAt::Root,
        AttributeAt::Child,
        AttributeAt::RootEvent,
    ];
    let attribute = random.random_bool(0.5).then(|| one_of(random, &places));
    let (key, value) = attribute_of(random);
    let state = state(random);
    let child_has_state = random.random_ratio(1, 4);

    let span = |number: u8, parent: Vec<u8>, name: &str, start: u64, end: u64| Span {
        trace_id: trace_id.clone(),
        span_id: [&trace_id[..7], &[number]].concat(),
        parent_span_id: parent,
        name: name.to_owned(),
        start_time_unix_nano: START_UNIX_NANOS + start,
        end_time_unix_nano: START_UNIX_NANOS + end,
        trace_state: if number == 1 || child_has_state {
            state.clone()
        } else {
            String::new()
        },
        status: Some(Status {
            code: if fails == Some(number - 1) {
                StatusCode::Error
            } else {
                StatusCode::Unset
            } as i32,
            ..Status::default()
        }),
        attributes: match (number, attribute) {
            (1, Some(AttributeAt::Root)) | (2, Some(AttributeAt::Child)) => {
                vec![pair(&key, value.clone())]
            }
            _ => vec![],
        },
        events: match (number, attribute) {
            (1, Some(AttributeAt::RootEvent)) => vec![Event {
                attributes: vec![pair(&key, value.clone())],
                ..Event::default()
            }],
            _ => vec![],
        },
        ..Span::default()
    };
    let parent = if has_root { vec![] } else { vec![7; 8] };
    let root = span(1, parent, operation, 0, duration);
    let child = span(2, root.span_id.clone(), "work", duration / 4, duration / 2);
    let in_resource = random.random_ratio(1, 10);
    let extra = in_resource.then(|| pair(&key, value.clone()));
    Fixture {
        description: format!(
            "{service:?} {operation:?} in {namespace:?}, root {has_root}, {duration} ns, fails {fails:?}, {key}={value:?} at {attribute:?}, in resource {in_resource}, state {state:?} (child too: {child_has_state})"
        ),
        resources: vec![
            resource(service, namespace, extra, root),
            resource(Some("b"), namespace, None, child),
        ],
        trace_id,
    }
}

fn attribute_of(random: &mut StdRng) -> (String, Value) {
    let key = one_of(
        random,
        &["customer.tier", "customer.tier", HOSTILE_KEY, "other"],
    );
    let text = |text: &str| Value::StringValue(text.to_owned());
    let value = one_of(
        random,
        &[
            text("gold"),
            text("7"),
            Value::IntValue(7),
            Value::IntValue(-3),
            Value::DoubleValue(7.0),
            Value::DoubleValue(0.25),
            Value::BoolValue(true),
            Value::BoolValue(false),
            text("true"),
            text("silver"),
        ],
    );
    (key.to_owned(), value)
}

/// A `tracestate` with a threshold or `rv`. Without either, the Collector and the lab hash the trace
/// ID, each in its own way, so those traces cannot be compared one by one.
fn state(random: &mut StdRng) -> String {
    let randomness: u64 = random.next_u64() >> 8;
    one_of(
        random,
        &[
            "ot=th:8".to_owned(),
            "ot=th:fd70a3d70a3d71".to_owned(),
            format!("ot=rv:{randomness:014x}"),
            format!("vendor=1,ot=th:8;rv:{randomness:014x}"),
        ],
    )
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn resource(
    service: Option<&str>,
    namespace: Option<&str>,
    extra: Option<KeyValue>,
    span: Span,
) -> ResourceSpans {
    let text = |key: &str, text: &str| pair(key, Value::StringValue(text.to_owned()));
    let service = service.map(|service| text("service.name", service));
    let namespace = namespace.map(|namespace| text("k8s.namespace.name", namespace));
    ResourceSpans {
        resource: Some(Resource {
            attributes: [service, namespace, extra].into_iter().flatten().collect(),
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}
