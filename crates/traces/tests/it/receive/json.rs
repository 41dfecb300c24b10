//! OTLP in JSON.

use reqwest::{Client, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use spoor_traces::PipelineSettings;

use crate::receiver::Receiver;

/// Forms that the JSON mapping of protobuf allows.
#[rstest]
#[case::nothing(json!({}))]
#[case::no_spans(json!({"resourceSpans": []}))]
#[case::empty_parts(json!({"resourceSpans": [{"scopeSpans": [{"spans": []}]}, {}]}))]
#[case::unknown_field(json!({"resourceSpans": [], "somethingNew": {"a": [1]}}))]
#[case::attribute(attributed(json!({"key": "a", "value": {"intValue": 7}})))]
#[case::text_number(attributed(json!({"key": "a", "value": {"intValue": "7"}})))]
#[case::whole_double(attributed(json!({"key": "a", "value": {"doubleValue": 7}})))]
#[case::text_double(attributed(json!({"key": "a", "value": {"doubleValue": "1.5"}})))]
#[case::not_a_number(attributed(json!({"key": "a", "value": {"doubleValue": "NaN"}})))]
#[case::null(attributed(json!({"key": "a", "value": {"arrayValue": {"values": null}}})))]
#[case::nulls(json!({"resourceSpans": [{"resource": null, "schemaUrl": null, "scopeSpans": null}]}))]
#[case::bool(attributed(json!({"key": "a", "value": {"boolValue": true}})))]
#[case::array(attributed(json!({"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}})))]
#[case::empty_array(attributed(json!({"key": "a", "value": {"arrayValue": {}}})))]
#[case::pairs(attributed(json!({"key": "a", "value": {"kvlistValue": {"values": []}}})))]
#[case::bytes(attributed(json!({"key": "a", "value": {"bytesValue": "AQID"}})))]
#[case::no_value(attributed(json!({"key": "a"})))]
#[case::empty_value(attributed(json!({"key": "a", "value": {}})))]
#[case::unknown_attribute_field(attributed(json!({"key": "a", "value": {"stringValue": "x"}, "new": 1})))]
#[tokio::test]
async fn accepts_all_forms_of_json(#[case] body: Value) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    let status = response.status();
    let response = response.text().await.unwrap();
    assert_eq!((status, response.as_str()), (StatusCode::OK, "{}"));
}

/// A body of any size is read by the same rules.
#[tokio::test]
async fn accepts_large_json_in_all_forms() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let padding: Vec<_> = (1..=8_000).map(|id: u64| {
        json!({"traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "padding", "attributes": [
            {"key": "a", "value": {"doubleValue": "1.5"}},
            {"key": "b", "value": {"arrayValue": {}}},
        ], "events": null, "links": null, "status": null, "parentSpanId": null})
    }).collect();
    let entities = json!([{"type": "service", "idKeys": ["service.name"]}]);
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": null, "entityRefs": entities},
        "scopeSpans": [{"spans": padding}],
    }]});
    assert!(body.to_string().len() > 1 << 20);
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.text().await.unwrap(), "{}");
    assert_eq!(receiver.pipeline.totals().kept, 8_000);
}

#[rstest]
#[case::snake_case(json!({"resource_spans": [{"scope_spans": []}]}), "resourceSpans")]
#[case::old_scopes(json!({"resourceSpans": [{"instrumentationLibrarySpans": [{}]}]}), "scopeSpans")]
#[tokio::test]
async fn warns_about_ignored_names(#[case] body: Value, #[case] expected: &str) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let url = format!("http://{}/v1/traces", receiver.http);
    let response = Client::new().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let response: Value = response.json().await.unwrap();
    let partial = &response["partialSuccess"];
    assert_eq!(partial["rejectedSpans"], "0");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(message.contains(expected), "{message}");
}

fn attributed(attribute: Value) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [attribute]},
        "scopeSpans": [{"spans": [{
            "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174",
            "name": "x",
            "startTimeUnixNano": 1_544_712_660_000_000_000_u64,
            "attributes": [attribute],
            "events": [{"name": "e", "attributes": [attribute]}],
            "links": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}],
            "status": {},
            "newField": null,
        }]}],
    }]})
}
