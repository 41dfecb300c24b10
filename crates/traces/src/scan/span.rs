//! Scans a span.

use super::{
    Rejected,
    attribute::{Plain, Signed, Texts, Value, check, key_value},
    wire::{BYTES, FIXED32, FIXED64, Reader, VARINT, WireError, key, visit},
};
use crate::{
    TraceId, otlp_json,
    span::{NewSpan, Signature},
};

const TRACE_ID: u32 = key(1, BYTES);
const SPAN_ID: u32 = key(2, BYTES);
const TRACE_STATE: u32 = key(3, BYTES);
const PARENT_SPAN_ID: u32 = key(4, BYTES);
const NAME: u32 = key(5, BYTES);
const KIND: u32 = key(6, VARINT);
const START: u32 = key(7, FIXED64);
const END: u32 = key(8, FIXED64);
const ATTRIBUTE: u32 = key(9, BYTES);
const DROPPED_ATTRIBUTES: u32 = key(10, VARINT);
const EVENT: u32 = key(11, BYTES);
const DROPPED_EVENTS: u32 = key(12, VARINT);
const LINK: u32 = key(13, BYTES);
const DROPPED_LINKS: u32 = key(14, VARINT);
const STATUS: u32 = key(15, BYTES);
const FLAGS: u32 = key(16, FIXED32);
const LAST_FIELD: u32 = 16;

/// Reads a `Span`. A valid message that is not a valid span is counted as rejected.
#[inline]
pub(super) fn span<'a, T: Signed<'a>>(
    mut reader: Reader<'a>,
    rejected: &mut Rejected,
) -> Result<Option<NewSpan<'a>>, WireError> {
    let body = reader.rest();
    let body_at = reader.position();
    let mut start_at = 0;
    let mut trace_id: &[u8] = &[];
    let mut span_id: &[u8] = &[];
    let mut parent: &[u8] = &[];
    let mut name: &[u8] = &[];
    let (mut kind, mut start, mut end, mut status) = (0u64, 0, 0, 0u64);
    let mut signature = Signature::default();
    while let Some(key) = reader.key()? {
        match key {
            TRACE_ID => trace_id = reader.bytes()?,
            SPAN_ID => span_id = reader.bytes()?,
            TRACE_STATE => {
                reader.text()?;
                // The tail sampler reads `tracestate` only where this bit is set.
                signature.insert(Signature::TRACE_STATE);
            }
            PARENT_SPAN_ID => parent = reader.bytes()?,
            NAME => name = reader.text()?,
            KIND => kind = reader.varint()?,
            START => {
                // Its key takes one byte.
                start_at = (reader.position() - 1 - body_at) as u32;
                start = reader.fixed64()?;
            }
            END => end = reader.fixed64()?,
            ATTRIBUTE => {
                let (name, value) = key_value::<T>(reader.message()?)?;
                signature.insert(T::signature(name, value));
            }
            // Jaeger also finds a tag among the fields of a span's logs, which are OTLP's events.
            EVENT => event::<T>(reader.message()?, |name, value| {
                signature.insert(T::signature(name, value));
            })?,
            // Links are not in the signature: no search reads their attributes, which Jaeger does
            // not show.
            LINK => check(&otlp_json::LINK, reader.message()?)?,
            STATUS => {
                if let Some(code) = status_code(reader.message()?)? {
                    status = code;
                }
            }
            DROPPED_ATTRIBUTES | DROPPED_EVENTS | DROPPED_LINKS => drop(reader.varint()?),
            FLAGS => drop(reader.fixed32()?),
            other => reader.skip_unknown(other, LAST_FIELD)?,
        }
    }
    // Enumerations are 32 bits wide, whatever the varint holds.
    if status as u32 == STATUS_ERROR {
        signature.insert(Signature::ERROR);
    }
    // An ID of zeros is invalid in W3C Trace Context, so it counts as no parent.
    if parent.iter().all(|byte| *byte == 0) {
        signature.insert(Signature::ROOT);
    }
    // Checked after the loop: if a field is repeated, its last value counts.
    let trace_id = match <[u8; 16]>::try_from(trace_id) {
        Ok(id) if id != [0; 16] => TraceId::from_bytes(id),
        _ => {
            rejected.trace_id += 1;
            return Ok(None);
        }
    };
    if span_id.len() != 8 || span_id.iter().all(|byte| *byte == 0) {
        rejected.span_id += 1;
        return Ok(None);
    }
    // A parent ID of another length matches no span, so the span would always be an orphan.
    if !matches!(parent.len(), 0 | 8) {
        rejected.parent_span_id += 1;
        return Ok(None);
    }
    let kind = u8::try_from(kind as u32).ok();
    Ok(Some(NewSpan {
        trace_id,
        body,
        name,
        // Enumerations are open in proto3: a kind of a later version counts as unspecified.
        kind: kind.filter(|kind| *kind <= LAST_KIND).unwrap_or(0),
        start,
        // A span that ends before its start is kept; queries add a warning to it.
        duration: end.saturating_sub(start),
        signature,
        start_at,
    }))
}

const STATUS_ERROR: u32 = 2;
const LAST_KIND: u8 = 5;

fn status_code(mut status: Reader<'_>) -> Result<Option<u64>, WireError> {
    const MESSAGE: u32 = key(2, BYTES);
    const CODE: u32 = key(3, VARINT);
    let mut code = None;
    while let Some(key) = status.key()? {
        match key {
            MESSAGE => drop(status.text()?),
            CODE => code = Some(status.varint()?),
            // Field 1 was `deprecated_code`, which old exporters may still send.
            other if other >> 3 == 1 => status.skip_unknown(other, 0)?,
            other => status.skip_unknown(other, 3)?,
        }
    }
    Ok(code)
}

fn event<'a, T: Texts<'a>>(
    mut event: Reader<'a>,
    mut attribute: impl FnMut(T::Text, Value<T::Text>),
) -> Result<(), WireError> {
    const TIME: u32 = key(1, FIXED64);
    const NAME: u32 = key(2, BYTES);
    const ATTRIBUTE: u32 = key(3, BYTES);
    const DROPPED: u32 = key(4, VARINT);
    while let Some(key) = event.key()? {
        match key {
            TIME => drop(event.fixed64()?),
            NAME => drop(event.text()?),
            ATTRIBUTE => {
                let (name, value) = key_value::<T>(event.message()?)?;
                attribute(name, value);
            }
            DROPPED => drop(event.varint()?),
            other => event.skip_unknown(other, 4)?,
        }
    }
    Ok(())
}

/// Calls `apply` for each attribute of an encoded `Span`.
pub(crate) fn span_attributes<'a>(
    body: &'a [u8],
    mut apply: impl FnMut(&'a [u8], Value<&'a [u8]>),
) {
    visit(body, |reader, key| match key {
        ATTRIBUTE => key_value::<Plain>(reader.message()?).map(|(name, value)| apply(name, value)),
        other => reader.skip_unknown(other, 0),
    });
}

/// Copies an encoded `Span` without its attributes of this name; returns whether it has any.
pub(crate) fn copy_without_attribute(body: &[u8], name: &str, copy: &mut Vec<u8>) -> bool {
    copy.clear();
    let (mut copied, mut end) = (0, 0);
    visit(body, |reader, key| {
        let start = end;
        match key {
            ATTRIBUTE => {
                let (found, _) = key_value::<Plain>(reader.message()?)?;
                if found == name.as_bytes() {
                    copy.extend_from_slice(reader.between(copied, start));
                    copied = reader.position();
                }
            }
            other => reader.skip_unknown(other, 0)?,
        }
        end = reader.position();
        Ok(())
    });
    copy.extend_from_slice(body.get(copied..).unwrap_or_default());
    copied > 0
}

/// Calls `apply` for each attribute that a search finds: of an encoded `Span` and of its events.
pub(crate) fn searched_attributes<'a>(
    body: &'a [u8],
    mut apply: impl FnMut(&'a [u8], Value<&'a [u8]>),
) {
    visit(body, |reader, key| match key {
        ATTRIBUTE => key_value::<Plain>(reader.message()?).map(|(name, value)| apply(name, value)),
        EVENT => event::<Plain>(reader.message()?, &mut apply),
        other => reader.skip_unknown(other, 0),
    });
}

/// The status of an encoded `Span` as Jaeger writes it; empty when it is unset.
pub(crate) fn status_word(body: &[u8]) -> &'static str {
    let mut code = None;
    visit(body, |reader, key| match key {
        STATUS => status_code(reader.message()?).map(|next| code = next.or(code)),
        other => reader.skip_unknown(other, 0),
    });
    // As an enumeration, of which decoders read 32 bits.
    match code.map(|code| code as i32) {
        Some(1) => "OK",
        Some(2) => "ERROR",
        _ => "",
    }
}

/// The W3C `tracestate` of an encoded `Span`, and its flags, of which the lowest byte is W3C's.
pub(crate) fn trace_state(body: &[u8]) -> (&str, u32) {
    let (mut state, mut flags) = (&[][..], 0);
    visit(body, |reader, key| match key {
        TRACE_STATE => reader.bytes().map(|text| state = text),
        FLAGS => reader.fixed32().map(|value| flags = value),
        other => reader.skip_unknown(other, 0),
    });
    (std::str::from_utf8(state).unwrap_or_default(), flags)
}
