//! The decoded size of a trace, computed before it is decoded.
//!
//! A field of two bytes, such as an empty link, becomes a struct of a hundred bytes: the encoded
//! length does not bound the decoded size.

use super::wire::{BYTES, Reader, WireError};
use crate::otlp_json::{Kind, Message, RESOURCE_SPANS};

/// The allocator's overhead for each string or byte array, roughly.
const ALLOCATION_BYTES: usize = 16;
/// The most bytes of a control character in JSON. Lists and maps are shown as JSON, and a response
/// holds the JSON of all lists and maps of a span at the same time.
const ESCAPED_BYTES: usize = r"\u0000".len();

/// The approximate size of an encoded `ResourceSpans` once decoded, in bytes, overestimated rather
/// than underestimated.
pub(crate) fn decoded_bytes(resource_spans: &[u8]) -> usize {
    let mut total = 0;
    let mut reader = Reader::new(resource_spans);
    // Stored bytes were validated, so this cannot fail.
    let _ = add(&RESOURCE_SPANS, &mut reader, &mut total);
    total
}

fn add(
    message: &'static Message,
    reader: &mut Reader<'_>,
    total: &mut usize,
) -> Result<(), WireError> {
    // A growing list has up to twice the capacity that it needs.
    *total = total.saturating_add(2 * message.decoded_bytes);
    while let Some(key) = reader.key()? {
        let kind = message.field_by_number(key >> 3).map(|field| &field.kind);
        match (key & 7 == BYTES, kind) {
            // The recursion is as deep as the reader allows, which is `MAX_DEPTH`.
            (true, Some(Kind::Message(nested))) => add(nested, &mut reader.message()?, total)?,
            (true, _) => {
                let bytes = reader.bytes()?;
                let controls = bytes.iter().filter(|byte| byte.is_ascii_control()).count();
                let escapes = controls * (ESCAPED_BYTES - 1);
                *total = total.saturating_add(bytes.len() + escapes + ALLOCATION_BYTES);
            }
            (false, _) => reader.skip_unknown(key, 0)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::Event};
    use prost::Message as _;

    use super::decoded_bytes;

    fn decoded_size(span: Span) -> usize {
        let batch = ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        };
        decoded_bytes(&batch.encode_to_vec())
    }

    #[test]
    fn empty_events_count_by_decoded_size() {
        let events = 10_000;
        let span = Span {
            events: vec![Event::default(); events],
            ..Span::default()
        };
        assert!(decoded_size(span) >= events * size_of::<Event>());
    }

    #[test]
    fn long_texts_count_by_length() {
        let span = Span {
            name: "x".repeat(1 << 20),
            ..Span::default()
        };
        let size = decoded_size(span);
        assert!(((1 << 20)..(1 << 20) + 4096).contains(&size), "{size}");
    }

    #[test]
    fn control_characters_count_as_escapes() {
        let span = Span {
            name: "\0".repeat(1 << 20),
            ..Span::default()
        };
        assert!(decoded_size(span) >= 6 << 20);
    }
}
