//! The memory that a trace takes once decoded, known before it is decoded.
//!
//! A field of two bytes, such as an empty event, becomes a struct of a hundred: the length of the
//! encoded bytes bounds nothing.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue},
    trace::v1::{
        ResourceSpans, ScopeSpans, Span,
        span::{Event, Link},
    },
};

use super::wire::{BYTES, Reader, WireError};

/// The allocator's overhead for each string and list, roughly.
const ALLOCATION_BYTES: usize = 16;

/// A message, as far as others are nested in it.
#[derive(Clone, Copy)]
enum Message {
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    KeyValue,
    AnyValue,
    Array,
    Map,
}

impl Message {
    /// The message in a field; none for strings and bytes.
    fn nested(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::ResourceSpans, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ScopeSpans, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::Resource, 1)
            | (Self::Scope, 3)
            | (Self::Span, 9)
            | (Self::Event, 3)
            | (Self::Link, 4)
            | (Self::Map, 1) => Self::KeyValue,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::KeyValue, 2) | (Self::Array, 1) => Self::AnyValue,
            (Self::AnyValue, 5) => Self::Array,
            (Self::AnyValue, 6) => Self::Map,
            _ => return None,
        })
    }

    /// Its size in a list. A list that grows has up to twice the room that it needs.
    fn bytes(self) -> usize {
        2 * match self {
            Self::ResourceSpans => size_of::<ResourceSpans>(),
            Self::ScopeSpans => size_of::<ScopeSpans>(),
            Self::Span => size_of::<Span>(),
            Self::Event => size_of::<Event>(),
            Self::Link => size_of::<Link>(),
            Self::KeyValue => size_of::<KeyValue>(),
            Self::AnyValue => size_of::<AnyValue>(),
            // Part of what holds them.
            Self::Resource | Self::Scope | Self::Array | Self::Map => 0,
        }
    }
}

/// The memory that an encoded `ResourceSpans` takes once decoded, in bytes; roughly, and rather
/// too much than too little.
pub(crate) fn decoded_bytes(resource_spans: &[u8]) -> usize {
    let mut total = Message::ResourceSpans.bytes();
    // What was stored had been validated: nothing is left out here.
    let _ = add(
        Message::ResourceSpans,
        &mut Reader::new(resource_spans),
        &mut total,
    );
    total
}

fn add(message: Message, reader: &mut Reader<'_>, total: &mut usize) -> Result<(), WireError> {
    while let Some(key) = reader.key()? {
        match (key & 7 == BYTES, message.nested(key >> 3)) {
            (true, Some(nested)) => {
                *total = total.saturating_add(nested.bytes());
                // The recursion is as deep as the reader allows, which is `MAX_DEPTH`.
                add(nested, &mut reader.message()?, total)?;
            }
            (true, None) => {
                let len = reader.bytes()?.len();
                *total = total.saturating_add(len + ALLOCATION_BYTES);
            }
            (false, _) => reader.unknown(key, 0)?,
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

    fn weight(span: Span) -> usize {
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
    fn empty_events_weigh_what_they_become() {
        let events = 10_000;
        let span = Span {
            events: vec![Event::default(); events],
            ..Span::default()
        };
        assert!(weight(span) >= events * size_of::<Event>());
    }

    #[test]
    fn long_texts_weigh_their_length() {
        let span = Span {
            name: "x".repeat(1 << 20),
            ..Span::default()
        };
        let weight = weight(span);
        assert!(((1 << 20)..(1 << 20) + 4096).contains(&weight), "{weight}");
    }
}
