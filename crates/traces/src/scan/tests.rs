#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span},
};
use proptest::{collection::vec, prelude::*};
use prost::{Message, encoding::encode_varint};

use super::*;
use crate::span::Signature;

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        "\\PC{0,12}".prop_map(|text| Some(any_value::Value::StringValue(text))),
        any::<bool>().prop_map(|flag| Some(any_value::Value::BoolValue(flag))),
        any::<i64>().prop_map(|number| Some(any_value::Value::IntValue(number))),
        any::<f64>().prop_map(|number| Some(any_value::Value::DoubleValue(number))),
        vec(any::<u8>(), 0..8).prop_map(|raw| Some(any_value::Value::BytesValue(raw))),
    ];
    leaf.prop_map(|value| AnyValue { value })
        .prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(|values| AnyValue {
                    value: Some(any_value::Value::ArrayValue(ArrayValue { values })),
                }),
                vec(("[a-z.]{0,6}", inner), 0..3).prop_map(|pairs| AnyValue {
                    value: Some(any_value::Value::KvlistValue(KeyValueList {
                        values: pairs.into_iter().map(pair).collect(),
                    })),
                }),
            ]
        })
}

fn pair((key, value): (String, AnyValue)) -> KeyValue {
    KeyValue {
        key,
        value: Some(value),
        ..KeyValue::default()
    }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(("[a-z.]{0,8}", value()).prop_map(pair), 0..4)
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), len), 1 => vec(any::<u8>(), 0..20), 1 => Just(vec![0; len])]
}

fn a_span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8), "\\PC{0,20}", any::<u32>());
    let event = ("\\PC{0,8}", attributes()).prop_map(|(name, attributes)| span::Event {
        name,
        attributes,
        ..span::Event::default()
    });
    let link = (id(16), attributes()).prop_map(|(trace_id, attributes)| span::Link {
        trace_id,
        attributes,
        ..span::Link::default()
    });
    let rest = (
        "\\PC{0,20}",
        -1..8i32,
        any::<[u64; 2]>(),
        attributes(),
        vec(event, 0..2),
        vec(link, 0..2),
        proptest::option::of(0..4i32),
    );
    (ids, rest).prop_map(|(ids, rest)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        trace_state: ids.3,
        flags: ids.4,
        name: rest.0,
        kind: rest.1,
        start_time_unix_nano: rest.2[0],
        end_time_unix_nano: rest.2[1],
        attributes: rest.3,
        events: rest.4,
        links: rest.5,
        status: rest.6.map(|code| Status {
            code,
            message: "m".into(),
        }),
        ..Span::default()
    })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = ("\\PC{0,8}", vec(a_span(), 0..4)).prop_map(|(name, spans)| ScopeSpans {
        scope: Some(InstrumentationScope {
            name,
            ..InstrumentationScope::default()
        }),
        spans,
        schema_url: "https://scope.example".into(),
    });
    let resource = (
        attributes(),
        proptest::option::of("[a-z]{1,8}"),
        vec(scope, 0..3),
    );
    let resource = resource.prop_map(|(mut attributes, service, scope_spans)| {
        if let Some(name) = service {
            let value = Some(any_value::Value::StringValue(name));
            attributes.push(pair(("service.name".into(), AnyValue { value })));
        }
        ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans,
            schema_url: "https://resource.example".into(),
        }
    });
    vec(resource, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn service(resource: &ResourceSpans) -> &str {
    let attributes = resource
        .resource
        .iter()
        .flat_map(|resource| &resource.attributes);
    let names = attributes.filter(|pair| pair.key == "service.name");
    let mut texts = names.filter_map(|pair| match pair.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.as_str()),
        _ => None,
    });
    texts.next_back().unwrap_or_default()
}

fn is_id(bytes: &[u8], len: usize) -> bool {
    bytes.len() == len && bytes.iter().any(|byte| *byte != 0)
}

/// Asserts that the scan agrees with prost's decoding.
fn assert_same(bytes: &[u8]) {
    let decoded = ExportTraceServiceRequest::decode(bytes);
    let scanned = scan(bytes, &mut Reservation::unbounded());
    let mut reservation = Reservation::unbounded();
    let forwarded = scan_within(bytes, SourceLimits::FORWARDER, &mut reservation);
    assert_eq!(forwarded.is_ok(), scanned.is_ok());
    let (decoded, scanned) = match (decoded, scanned) {
        (Ok(decoded), Ok(scanned)) => (decoded, scanned),
        (Err(_), Err(_)) => return,
        (decoded, scanned) => panic!("decoded {decoded:?} but scanned {scanned:?}"),
    };
    assert_flags(&scanned, &forwarded.unwrap());
    let hashes = vec![0; scanned.spans.len()];
    let mut spans = scanned
        .by_source(&hashes, None)
        .flat_map(|(source, spans)| spans.map(move |(span, _)| (source, span)));
    let mut rejected = Rejected::default();
    for resource in &decoded.resource_spans {
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            if !is_id(&span.trace_id, 16) {
                rejected.trace_id += 1;
                continue;
            }
            if !is_id(&span.span_id, 8) {
                rejected.span_id += 1;
                continue;
            }
            if !matches!(span.parent_span_id.len(), 0 | 8) {
                rejected.parent_span_id += 1;
                continue;
            }
            let (source, found) = spans.next().expect("as many spans");
            assert_eq!(
                Span::decode(found.body).expect("a span").encode_to_vec(),
                span.encode_to_vec()
            );
            assert_eq!(found.trace_id.to_bytes().as_slice(), span.trace_id);
            assert_eq!(found.name, span.name.as_bytes());
            assert_eq!(
                i32::from(found.kind),
                if (0..6).contains(&span.kind) {
                    span.kind
                } else {
                    0
                }
            );
            assert_eq!(found.start, span.start_time_unix_nano);
            let duration = span
                .end_time_unix_nano
                .saturating_sub(span.start_time_unix_nano);
            assert_eq!(found.duration, duration);
            let is_root = span.parent_span_id.iter().all(|byte| *byte == 0);
            assert_eq!(found.signature.contains(Signature::ROOT), is_root);
            let is_error = span.status.as_ref().is_some_and(|status| status.code == 2);
            assert_eq!(found.signature.contains(Signature::ERROR), is_error);
            let state = (span.trace_state.as_str(), span.flags);
            assert_eq!(trace_state(found.body), state);
            assert_eq!(source.service, service(resource).as_bytes());
            for pair in &span.attributes {
                assert_attribute(found, pair);
            }
        }
    }
    assert!(spans.next().is_none());
    assert_eq!(scanned.rejected, rejected);
}

/// Asserts that the signatures of a forwarder's spans have the flags of a store's, and nothing else.
fn assert_flags(of_store: &Scanned<'_>, of_forwarder: &Scanned<'_>) {
    assert_eq!(of_store.spans.len(), of_forwarder.spans.len());
    for (stored, forwarded) in of_store.spans.iter().zip(of_forwarder.spans.iter()) {
        let mut flags = Signature::default();
        for flag in [Signature::ROOT, Signature::ERROR, Signature::TRACE_STATE] {
            if stored.signature.contains(flag) {
                flags.insert(flag);
            }
        }
        assert_eq!(forwarded.signature, flags);
        assert_eq!(forwarded.body, stored.body);
    }
}

/// Asserts that a search finds a span's attribute by its text, and that the span's signature does
/// not rule it out.
fn assert_attribute(span: &NewSpan<'_>, pair: &KeyValue) {
    let text = match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) if !number.is_nan() => number.to_string(),
        _ => return,
    };
    let matcher = AttributeMatcher::new(&pair.key, &text);
    assert!(
        matcher
            .signatures()
            .iter()
            .any(|one| span.signature.contains(*one))
    );
    let mut has = false;
    searched_attributes(span.body, |name, value| has |= matcher.matches(name, value));
    assert!(has, "{pair:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn accepts_what_prost_accepts(request in request()) {
        assert_same(&request.encode_to_vec());
    }

    #[test]
    fn rejects_what_prost_rejects(
        request in request(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        assert_same(&bytes);
    }

    #[test]
    fn agrees_on_random_bytes(bytes in vec(prop_oneof![any::<u8>(), 0..32u8], 0..64)) {
        assert_same(&bytes);
    }

    #[test]
    fn reads_a_resource_after_its_scopes(request in request()) {
        let mut bytes = Vec::new();
        for resource in request.resource_spans {
            let scopes = ResourceSpans { resource: None, ..resource.clone() };
            let last = ResourceSpans { resource: resource.resource, ..ResourceSpans::default() };
            let mut inner = scopes.encode_to_vec();
            inner.extend(last.encode_to_vec());
            bytes.push(0x0a);
            encode_varint(inner.len() as u64, &mut bytes);
            bytes.extend(inner);
        }
        assert_same(&bytes);
    }
}

#[test]
fn nesting_limit_matches_prost() {
    for depth in 40..50 {
        let mut value = AnyValue {
            value: Some(any_value::Value::BoolValue(true)),
        };
        for _ in 0..depth {
            let values = vec![value];
            value = AnyValue {
                value: Some(any_value::Value::ArrayValue(ArrayValue { values })),
            };
        }
        let span = Span {
            attributes: vec![pair(("deep".into(), value))],
            ..Span::default()
        };
        let scope = ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        };
        let resource = ResourceSpans {
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![resource],
        };
        assert_same(&request.encode_to_vec());
    }
}

/// A length-delimited field with a number below 16.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend(content);
    bytes
}

#[rstest::rstest]
#[case::resources([0x0a, 0].repeat(100_000))]
#[case::resource_parts(field(1, &[0x0a, 0].repeat(100_000)))]
#[case::scopes(field(1, &[0x12, 0].repeat(100_000)))]
#[case::mixed(field(1, &[0x0a, 0, 0x12, 0].repeat(100_000)))]
#[case::scope_parts(field(1, &field(2, &[0x0a, 0].repeat(100_000))))]
#[case::spans(field(1, &field(2, &[0x12, 0].repeat(100_000))))]
fn empty_messages_take_little_memory(#[case] request: Vec<u8>) {
    let mut reservation = Reservation::unbounded();
    scan(&request, &mut reservation).unwrap();
    // Parts between empty messages take 16 bytes for every four, and half as much to grow.
    assert!(
        reservation.bytes() < 6 * request.len(),
        "{}",
        reservation.bytes()
    );
    assert_same(&request);
}

#[test]
fn long_service_name_before_a_short_one_is_rejected() {
    let names = ["s".repeat(2_000), "s".to_owned()].map(|name| {
        let value = Some(any_value::Value::StringValue(name));
        pair(("service.name".to_owned(), AnyValue { value }))
    });
    let spans = vec![Span {
        trace_id: vec![1; 16],
        span_id: vec![1; 8],
        ..Span::default()
    }];
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource {
            attributes: names.to_vec(),
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans,
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }];
    let request = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
    assert_eq!((scanned.spans.len(), scanned.rejected.oversized), (0, 1));
    let reason = scanned.rejected.first_oversized.unwrap();
    assert_eq!(
        reason.to_string(),
        "service.name must be at most 1024 bytes, not 2000"
    );
}

#[rstest::rstest]
#[case::store(SourceLimits::STORE, 64 << 10)]
#[case::forwarder(SourceLimits::FORWARDER, 256 << 10)]
fn resources_are_limited_by_their_bytes(#[case] limits: SourceLimits, #[case] max: usize) {
    let span = [field(1, &[1; 16]), field(2, &[1; 8])].concat();
    let scope_spans = field(2, &field(2, &span));
    for (bytes, rejected) in [(max, 0), (max + 1, 1)] {
        // The key and the length take four bytes.
        let schema_url = field(3, &vec![b'x'; bytes - 4]);
        let request = field(1, &[scope_spans.clone(), schema_url].concat());
        let mut reservation = Reservation::unbounded();
        let scanned = scan_within(&request, limits, &mut reservation).unwrap();
        assert_eq!(scanned.rejected.oversized, rejected, "{bytes} bytes");
    }
}

#[test]
fn start_is_found_at_its_position() {
    let times = [&[0x39][..], &[5; 8][..], &[0x41][..], &[6; 8][..]].concat();
    let ids = [field(1, &[1; 16]), field(2, &[1; 8])].concat();
    // A span before it, so that positions in the request and in the span differ.
    let spans = [ids.clone(), [ids.clone(), times.clone()].concat()];
    let spans = spans.map(|span| field(2, &span)).concat();
    let request = field(1, &field(2, &spans));
    let scanned = scan(&request, &mut Reservation::unbounded()).unwrap();
    assert_eq!(scanned.spans[0].start_at, 0);
    let span = &scanned.spans[1];
    assert_eq!(span.body[span.start_at as usize..], times);
    assert_eq!(span.start_at as usize, ids.len());
}

#[test]
fn error_names_the_position() {
    let error = scan(&[0x0a, 0x05, 0x0a], &mut Reservation::unbounded()).expect_err("truncated");
    assert_eq!(
        error.to_string(),
        "the body is not a valid ExportTraceServiceRequest: it ends in the middle of a field \
         (before byte 2 of 3)"
    );
}
