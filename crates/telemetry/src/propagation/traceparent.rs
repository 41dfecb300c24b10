//! `traceparent`: `VERSION-TRACE_ID-PARENT_ID-FLAGS`.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::RANDOM;

/// What version 00 is long, and the part of every version that is known.
const LENGTH: usize = 55;

/// Reads a value; none when it is malformed and the trace has to be restarted.
pub(super) fn read(value: &str) -> Option<SpanContext> {
    let value = value.trim_matches([' ', '\t']);
    let (known, future) = value.split_at_checked(LENGTH)?;
    let mut fields = known.split('-');
    let version = hex::<2>(fields.next()?)?;
    let trace_id = hex::<32>(fields.next()?)?;
    let parent_id = hex::<16>(fields.next()?)?;
    let flags = hex::<2>(fields.next()?)?;
    let is_known = match version {
        "ff" => false,
        "00" => future.is_empty(),
        _ => future.is_empty() || future.starts_with('-'),
    };
    if fields.next().is_some() || !is_known {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace_id).ok()?,
        SpanId::from_hex(parent_id).ok()?,
        flags & (TraceFlags::SAMPLED | RANDOM),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// The header for this span with these flags.
pub(super) fn write(context: &SpanContext, flags: TraceFlags) -> String {
    // Digit by digit: it is written for every call, and formatting costs ten times that.
    let mut header = Vec::with_capacity(LENGTH);
    header.extend_from_slice(b"00-");
    header.extend(context.trace_id().to_bytes().into_iter().flat_map(digits));
    header.push(b'-');
    header.extend(context.span_id().to_bytes().into_iter().flat_map(digits));
    header.push(b'-');
    header.extend(digits(flags.to_u8()));
    String::from_utf8(header).unwrap_or_default()
}

fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    };
    [digit(byte >> 4), digit(byte & 0x0f)]
}

fn hex<const DIGITS: usize>(text: &str) -> Option<&str> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == DIGITS && text.bytes().all(is_digit)).then_some(text)
}
