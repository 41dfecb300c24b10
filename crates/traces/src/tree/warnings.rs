//! Warnings about a span, kept where Jaeger keeps them: in an attribute of the span, so that
//! they reach every view.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, ArrayValue, KeyValue, any_value::Value},
    trace::v1::Span,
};

/// The attribute's key.
pub const KEY: &str = "@jaeger@warnings";

/// Adds a warning.
pub fn add(span: &mut Span, warning: impl Into<String>) {
    let text = AnyValue {
        value: Some(Value::StringValue(warning.into())),
    };
    let earlier = span.attributes.iter_mut().find(|found| found.key == KEY);
    if let Some(attribute) = earlier
        && let Some(AnyValue {
            value: Some(Value::ArrayValue(array)),
        }) = &mut attribute.value
    {
        array.values.push(text);
        return;
    }
    let array = ArrayValue { values: vec![text] };
    span.attributes.push(KeyValue {
        key: KEY.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::ArrayValue(array)),
        }),
        ..KeyValue::default()
    });
}

/// The warnings of a span.
#[must_use]
pub fn of(span: &Span) -> Vec<&str> {
    let attribute = span.attributes.iter().find(|found| found.key == KEY);
    let value = attribute.and_then(|found| found.value.as_ref()?.value.as_ref());
    match value {
        Some(Value::ArrayValue(array)) => array.values.iter().filter_map(string).collect(),
        _ => Vec::new(),
    }
}

fn string(any: &AnyValue) -> Option<&str> {
    match any.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
