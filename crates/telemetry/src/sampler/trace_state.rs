//! The `ot` member of `tracestate`: `th`, the threshold that kept a trace, and `rv`, explicit
//! randomness.
//!
//! Source: OpenTelemetry, Trace State handling and Trace State: probability sampling.

use opentelemetry::trace::{TraceId, TraceState};
use spoor_policy::Threshold;

const MEMBER: &str = "ot";
const THRESHOLD: &str = "th";
const RANDOMNESS: &str = "rv";
const RANDOMNESS_DIGITS: usize = 14;
const LOW_56_BITS: u64 = Threshold::END - 1;

/// 56 random bits that all samplers of a trace agree on: a valid `rv` of a trusted `tracestate`,
/// else the trace ID's low 56 bits.
#[inline]
pub(super) fn randomness(trace_id: TraceId, incoming: &TraceState) -> u64 {
    explicit(incoming).unwrap_or_else(|| low_bits(trace_id))
}

fn low_bits(trace_id: TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) & LOW_56_BITS
}

/// The incoming `tracestate` with this threshold in place of any other.
pub(super) fn with_threshold(incoming: &TraceState, threshold: Threshold) -> TraceState {
    // A threshold that rejects everything has no text form, and no kept trace needs one.
    if threshold.value() >= Threshold::END {
        return without_threshold(incoming);
    }
    let mut value = format!("{THRESHOLD}:{threshold}");
    for field in fields_but_threshold(incoming) {
        value.push(';');
        value.push_str(field);
    }
    // If it would be too long, the incoming value is kept as it is.
    incoming
        .insert(MEMBER, value)
        .unwrap_or_else(|_| incoming.clone())
}

/// The incoming `tracestate` with no threshold.
#[inline]
pub(super) fn without_threshold(incoming: &TraceState) -> TraceState {
    let has_threshold = incoming
        .get(MEMBER)
        .is_some_and(|value| value.split(';').any(is_threshold));
    if !has_threshold {
        return incoming.clone();
    }
    let value = fields_but_threshold(incoming).collect::<Vec<_>>().join(";");
    let changed = if value.is_empty() {
        incoming.delete(MEMBER)
    } else {
        incoming.insert(MEMBER, value)
    };
    changed.unwrap_or_else(|_| incoming.clone())
}

fn explicit(incoming: &TraceState) -> Option<u64> {
    let digits = incoming
        .get(MEMBER)?
        .split(';')
        .find_map(|field| field.strip_prefix(RANDOMNESS)?.strip_prefix(':'))?;
    // The specification permits lower case only.
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != RANDOMNESS_DIGITS || !digits.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

fn fields_but_threshold(incoming: &TraceState) -> impl Iterator<Item = &str> {
    let fields = incoming.get(MEMBER).unwrap_or_default().split(';');
    fields.filter(|field| !field.is_empty() && !is_threshold(field))
}

fn is_threshold(field: &str) -> bool {
    field
        .strip_prefix(THRESHOLD)
        .is_some_and(|rest| rest.starts_with(':'))
}
