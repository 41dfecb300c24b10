//! `traceparent`: `VERSION-TRACE_ID-PARENT_ID-FLAGS`.
//!
//! Every call reads and writes one. Handling digits one by one takes a tenth of the time of parsing
//! and formatting.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use super::RANDOM;

/// The length of version 00, and of the known part of every later version.
const KNOWN_BYTES: usize = 55;

/// Reads a value. `None` if it is invalid, and the trace must be restarted.
pub(super) fn read(value: &str) -> Option<SpanContext> {
    let value = value.trim_matches([' ', '\t']);
    let (known, future) = value.split_at_checked(KNOWN_BYTES)?;
    let (version, rest) = field::<2>(known)?;
    let (trace_id, rest) = field::<32>(rest)?;
    let (parent_id, flags) = field::<16>(rest)?;
    let (version, flags) = (number(version)?, number(flags)?);
    let is_known = match version {
        // The specification forbids 255, and permits later versions to add fields after a dash.
        0xff => false,
        0x00 => future.is_empty(),
        _ => future.is_empty() || future.starts_with('-'),
    };
    if !is_known {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from(number(trace_id)?),
        SpanId::from(u64::try_from(number(parent_id)?).ok()?),
        // Unknown flags must not be passed on.
        TraceFlags::new(u8::try_from(flags).ok()?) & (TraceFlags::SAMPLED | RANDOM),
        true,
        TraceState::NONE,
    );
    context.is_valid().then_some(context)
}

/// The header for this span with these flags.
pub(super) fn write(context: &SpanContext, flags: TraceFlags) -> String {
    let mut header = String::with_capacity(KNOWN_BYTES);
    header.push_str("00-");
    push(&mut header, &context.trace_id().to_bytes());
    header.push('-');
    push(&mut header, &context.span_id().to_bytes());
    header.push('-');
    push(&mut header, &[flags.to_u8()]);
    header
}

/// A field of `BYTES` bytes, and the text after the dash that follows it.
fn field<const BYTES: usize>(text: &str) -> Option<(&str, &str)> {
    let (field, rest) = text.split_at_checked(BYTES)?;
    Some((field, rest.strip_prefix('-')?))
}

/// Parses at most 32 hexadecimal digits in lower case.
fn number(digits: &str) -> Option<u128> {
    digits.bytes().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

fn push(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
}
