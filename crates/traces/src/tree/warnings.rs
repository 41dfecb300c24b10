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
    // A sender may set this key to a value that is not a list; `add` then adds another attribute.
    let attributes = span.attributes.iter().filter(|found| found.key == KEY);
    let lists = attributes.filter_map(|found| match found.value.as_ref()?.value.as_ref()? {
        Value::ArrayValue(list) => Some(list),
        _ => None,
    });
    let warnings = lists.flat_map(|list| list.values.iter().filter_map(string));
    warnings.collect()
}

fn string(any: &AnyValue) -> Option<&str> {
    match any.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_is_kept_beside_a_non_list_value() {
        let mut span = Span::default();
        let value = Some(Value::StringValue("text".to_owned()));
        span.attributes.push(KeyValue {
            key: KEY.to_owned(),
            value: Some(AnyValue { value }),
            ..KeyValue::default()
        });
        add(&mut span, "clock skew");
        assert_eq!(of(&span), ["clock skew"]);
    }
}
