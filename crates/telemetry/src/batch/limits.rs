//! The truncation of a span's strings, and an upper bound on its encoded size.

use opentelemetry::{Array, KeyValue, Value, trace::Status};
use opentelemetry_sdk::trace::SpanData;

/// An upper bound on the encoded size of a span, an event or a link without its strings and
/// attributes, in bytes.
const MAX_ITEM_OVERHEAD_BYTES: usize = 128;
/// An upper bound on the encoded size of an attribute without its key and strings, in bytes.
const MAX_ATTRIBUTE_OVERHEAD_BYTES: usize = 20;

/// Truncates each string of a span to `max_chars` characters, since clients choose some of the
/// strings, such as the path of a URL. Returns an upper bound on the size of the encoded span, in
/// bytes, except that a list of numbers counts as one number, and the `tracestate` of a link is not
/// counted.
pub(super) fn truncate(span: &mut SpanData, max_chars: usize) -> usize {
    let mut bytes = truncate_text(&mut span.name, max_chars);
    bytes += truncate_item(&mut span.attributes, max_chars);
    for (key, value) in span.span_context.trace_state() {
        bytes += key.len() + value.len() + 2;
    }
    if let Status::Error { description } = &mut span.status {
        bytes += truncate_text(description, max_chars);
    }
    for event in &mut span.events.events {
        bytes += truncate_text(&mut event.name, max_chars);
        bytes += truncate_item(&mut event.attributes, max_chars);
    }
    for link in &mut span.links.links {
        bytes += truncate_item(&mut link.attributes, max_chars);
    }
    bytes
}

/// Like [`truncate`], but for the attributes of a span, an event or a link.
fn truncate_item(attributes: &mut [KeyValue], max_chars: usize) -> usize {
    let mut bytes = MAX_ITEM_OVERHEAD_BYTES;
    for attribute in attributes {
        bytes += MAX_ATTRIBUTE_OVERHEAD_BYTES + attribute.key.as_str().len();
        match &mut attribute.value {
            Value::String(text) => bytes += truncate_text(text, max_chars),
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    bytes += MAX_ATTRIBUTE_OVERHEAD_BYTES + truncate_text(text, max_chars);
                }
            }
            _ => {}
        }
    }
    bytes
}

/// Truncates a string, and returns its length in bytes.
fn truncate_text<T: AsRef<str> + From<String>>(text: &mut T, max_chars: usize) -> usize {
    let whole: &str = (*text).as_ref();
    // A string has at most as many characters as bytes, so most strings need no counting.
    if whole.len() > max_chars && whole.chars().nth(max_chars).is_some() {
        let kept: String = whole.chars().take(max_chars).collect();
        *text = kept.into();
    }
    (*text).as_ref().len()
}
