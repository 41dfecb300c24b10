#![allow(clippy::unwrap_used, clippy::panic)]

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, any_value::Value as Any},
    trace::v1::Span,
};
use prost::Message;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn read(json: &Value) -> Result<(ExportTraceServiceRequest, Vec<String>), String> {
    let text = json.to_string();
    let (bytes, ignored) = to_protobuf(text.as_bytes()).map_err(|error| error.to_string())?;
    assert!(
        bytes.len() <= text.len(),
        "{} of {}",
        bytes.len(),
        text.len()
    );
    let request = ExportTraceServiceRequest::decode(bytes).unwrap();
    Ok((request, ignored.messages()))
}

fn with_span(span: Value) -> Value {
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

fn span(members: Value) -> Result<Span, String> {
    let (request, messages) = read(&with_span(members))?;
    assert_eq!(messages, [""; 0]);
    Ok(request.resource_spans[0].scope_spans[0].spans[0].clone())
}

/// A request with every field, compared with the JSON of opentelemetry-proto.
#[test]
fn reads_every_field() {
    let attribute = json!({"key": "a", "value": {"kvlistValue": {"values": [
        {"key": "b", "value": {"arrayValue": {"values": [
            {"stringValue": "ü\u{202e}\"\\"}, {"boolValue": false}, {"intValue": "-9223372036854775808"},
            {"doubleValue": 0.1}, {"bytesValue": "AQID/w=="}, {},
        ]}}},
    ]}}});
    let text = json!({"resourceSpans": [{
        "resource": {
            "attributes": [attribute],
            "droppedAttributesCount": 1,
            "entityRefs": [{"schemaUrl": "u", "type": "t", "idKeys": ["a"], "descriptionKeys": ["b"]}],
        },
        "schemaUrl": "r",
        "scopeSpans": [{
            "scope": {"name": "n", "version": "v", "attributes": [attribute], "droppedAttributesCount": 2},
            "schemaUrl": "s",
            "spans": [{
                "traceId": "5b8efff798038103d269b633813fc60c",
                "spanId": "eee19b7ec3c1b174",
                "traceState": "ot=th:0",
                "parentSpanId": "eee19b7ec3c1b173",
                "flags": 257,
                "name": "x",
                "kind": 5,
                "startTimeUnixNano": "18446744073709551615",
                "endTimeUnixNano": "2",
                "attributes": [attribute],
                "droppedAttributesCount": 3,
                "events": [{"timeUnixNano": "1", "name": "e", "attributes": [attribute], "droppedAttributesCount": 4}],
                "droppedEventsCount": 5,
                "links": [{
                    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                    "traceState": "a=b", "attributes": [attribute], "droppedAttributesCount": 6, "flags": 1,
                }],
                "droppedLinksCount": 7,
                "status": {"message": "m", "code": 2},
            }],
        }],
    }]});
    let expected: ExportTraceServiceRequest = serde_json::from_value(text.clone()).unwrap();
    let span = &expected.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.flags, span.dropped_links_count), (257, 7));
    assert_eq!(read(&text).unwrap(), (expected, Vec::new()));
}

#[rstest]
#[case::text("intValue", json!("7"), Any::IntValue(7))]
#[case::exponent("intValue", json!("1e3"), Any::IntValue(1000))]
#[case::whole_double("intValue", json!(2.0), Any::IntValue(2))]
#[case::largest("intValue", json!(i64::MAX), Any::IntValue(i64::MAX))]
#[case::double_text("doubleValue", json!("1.5"), Any::DoubleValue(1.5))]
#[case::double_whole("doubleValue", json!(7), Any::DoubleValue(7.0))]
#[case::infinity("doubleValue", json!("-Infinity"), Any::DoubleValue(f64::NEG_INFINITY))]
#[case::empty_text("stringValue", json!(""), Any::StringValue(String::new()))]
#[case::no_padding("bytesValue", json!("AQI"), Any::BytesValue(vec![1, 2]))]
#[case::url_alphabet("bytesValue", json!("-_8="), Any::BytesValue(vec![0xfb, 0xff]))]
#[case::empty_array("arrayValue", json!({}), Any::ArrayValue(Default::default()))]
#[case::null_array("arrayValue", json!({"values": null}), Any::ArrayValue(Default::default()))]
#[case::empty_pairs("kvlistValue", json!({}), Any::KvlistValue(Default::default()))]
fn reads_a_value(#[case] name: &str, #[case] value: Value, #[case] expected: Any) {
    let span = span(json!({"attributes": [{"key": "a", "value": {name: value}}]})).unwrap();
    let value = span.attributes[0].value.as_ref().unwrap().value.clone();
    assert_eq!(value, Some(expected));
}

#[test]
fn reads_not_a_number() {
    let span =
        span(json!({"attributes": [{"key": "a", "value": {"doubleValue": "NaN"}}]})).unwrap();
    let value = span.attributes[0].value.as_ref().unwrap().value.clone();
    assert!(matches!(value, Some(Any::DoubleValue(number)) if number.is_nan()));
}

#[rstest]
#[case::nulls(
    json!({"name": null, "kind": null, "attributes": null, "status": null, "flags": null, "traceId": null}),
    Span::default()
)]
#[case::enum_name(json!({"kind": "SPAN_KIND_SERVER"}), Span { kind: 2, ..Span::default() })]
#[case::enum_text(json!({"kind": "3"}), Span { kind: 3, ..Span::default() })]
#[case::unknown_kind(json!({"kind": 77}), Span { kind: 77, ..Span::default() })]
#[case::upper_case_id(json!({"spanId": "AbCd"}), Span { span_id: vec![0xab, 0xcd], ..Span::default() })]
#[case::count_in_text(json!({"droppedAttributesCount": "9"}), Span { dropped_attributes_count: 9, ..Span::default() })]
#[case::time_as_number(json!({"startTimeUnixNano": 5}), Span { start_time_unix_nano: 5, ..Span::default() })]
#[case::unknown_member(json!({"futureField": {"a": [1, {"traceId": 7}]}}), Span::default())]
#[case::null_status(json!({"status": {"code": null}}), Span { status: Some(Default::default()), ..Span::default() })]
fn reads_a_span(#[case] members: Value, #[case] expected: Span) {
    assert_eq!(span(members).unwrap(), expected);
}

#[test]
fn null_in_a_list_is_an_empty_element() {
    let value = json!({"arrayValue": {"values": [null, {"boolValue": true}]}});
    let span = span(json!({"attributes": [{"key": "a", "value": value}]})).unwrap();
    let Some(Any::ArrayValue(array)) = span.attributes[0].value.clone().unwrap().value else {
        panic!("no array");
    };
    assert_eq!(array.values[0], AnyValue::default());
    assert_eq!(array.values.len(), 2);
}

#[rstest]
#[case::negative_time(json!({"startTimeUnixNano": "-1"}), "startTimeUnixNano")]
#[case::fraction(json!({"droppedAttributesCount": 1.5}), "droppedAttributesCount")]
#[case::too_large(json!({"flags": 4_294_967_296_u64}), "flags")]
#[case::words(json!({"kind": "inf"}), "kind")]
#[case::odd_id(json!({"traceId": "abc"}), "hexadecimal digits in traceId")]
#[case::id_in_base64(json!({"traceId": "W47/95gDgQPSabYzgT/GDA=="}), "hexadecimal digits in traceId")]
#[case::number_for_text(json!({"name": 7}), "a string in name")]
#[case::object_for_list(json!({"attributes": {}}), "a list in attributes")]
#[case::text_for_list(json!({"attributes": "a"}), "a list in attributes")]
#[case::list_for_object(json!({"status": []}), "an object in status")]
#[case::list_in_a_list(json!({"attributes": [[]]}), "an object in attributes")]
#[case::text_for_bool(json!({"attributes": [{"value": {"boolValue": "true"}}]}), "true or false in boolValue")]
#[case::bad_base64(json!({"attributes": [{"value": {"bytesValue": "&"}}]}), "base64 in bytesValue")]
fn error_names_the_expected_type(#[case] members: Value, #[case] expected: &str) {
    let error = span(members).unwrap_err();
    assert!(
        error.contains(expected) && error.contains("line 1"),
        "{error}"
    );
}

#[rstest]
#[case::nothing(json!({}), "")]
#[case::snake_case(json!({"resource_spans": []}), "snake_case were ignored; use their lowerCamelCase names: resourceSpans")]
#[case::snake_case_within(with_span(json!({"trace_id": "", "span_id": ""})), "names: spanId, traceId")]
#[case::old_scopes(json!({"resourceSpans": [{"instrumentationLibrarySpans": [{}]}]}), "instrumentationLibrarySpans was ignored")]
#[case::another_signal(json!({"resourceMetrics": []}), "the body has no resourceSpans")]
#[case::unknown_beside_spans(json!({"resourceSpans": [{}], "future_field": 1}), "")]
fn mentions_ignored_names(#[case] body: Value, #[case] expected: &str) {
    let (_, messages) = read(&body).unwrap();
    match expected {
        "" => assert_eq!(messages, [""; 0]),
        _ => assert!(messages.join("; ").contains(expected), "{messages:?}"),
    }
}

#[test]
fn responses_are_read_as_leniently_as_requests() {
    let attributes = r#"[{"key":"a","value":{"arrayValue":{}}},
        {"key":"b","value":{"arrayValue":{"values":[{"arrayValue":{"values":[]}}]}}},
        {"key":"c","value":{"kvlistValue":{}}},
        {"key":"d","value":{"doubleValue":"NaN"}},
        {"key":"e","value":{"doubleValue":"-Infinity"}},
        {"value":{"intValue":"7"}}]"#;
    let span = format!(
        r#"{{"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708","name":"n","attributes":{attributes}}}"#
    );
    let json = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
    let batches = read_spans(json.as_bytes()).unwrap();
    let attributes = &batches[0].scope_spans[0].spans[0].attributes;
    let keys: Vec<&str> = attributes.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d", "e", ""]);
    assert!(read_spans(b"{}").unwrap().is_empty());
    assert!(read_spans(b"[]").is_err());
}

#[test]
fn refusal_does_not_repeat_the_body() {
    let body = format!("\"{}\"", "\u{300}".repeat(100_000));
    let error = to_protobuf(body.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("invalid type: a string"), "{error}");
    assert!(error.len() < 200, "{}", error.len());
}
