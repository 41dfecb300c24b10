//! Encoded spans without what their log has elsewhere: the trace ID and the times.

use prost::encoding::encode_varint;

use crate::{TraceId, span::NewSpan};

/// In place of a span's key: it is shortened.
pub(super) const SHORTENED: u8 = 0;
/// The key and the length of `Span.trace_id`.
const TRACE_ID_HEADER: [u8; 2] = [1 << 3 | 2, 16];
/// The bytes of `Span.trace_id`.
const TRACE_ID_BYTES: usize = TRACE_ID_HEADER.len() + 16;
/// The keys of `Span.start_time_unix_nano` and `Span.end_time_unix_nano`.
const START_KEY: u8 = 7 << 3 | 1;
const END_KEY: u8 = 8 << 3 | 1;
/// In place of the position of the times: the span has them.
const HAS_TIMES: u8 = u8::MAX;

/// A span that begins with its trace ID, as all SDKs write it, without that. The times are left out,
/// too, if they follow one another.
pub(super) struct Shortened<'a> {
    /// The number of bytes before the times.
    times_at: u8,
    before: &'a [u8],
    after: &'a [u8],
}

impl<'a> Shortened<'a> {
    pub(super) fn new(span: &NewSpan<'a>) -> Option<Self> {
        let rest = span.body.strip_prefix(&TRACE_ID_HEADER)?;
        let rest = rest.strip_prefix(&span.trace_id.to_bytes())?;
        let shortened = Self::without_times(span, rest);
        Some(shortened.unwrap_or(Self {
            times_at: HAS_TIMES,
            before: rest,
            after: &[],
        }))
    }

    fn without_times(span: &NewSpan<'_>, rest: &'a [u8]) -> Option<Self> {
        let at = (span.start_at as usize).checked_sub(TRACE_ID_BYTES)?;
        let times_at = u8::try_from(at).ok().filter(|at| *at != HAS_TIMES)?;
        let (before, rest) = rest.split_at_checked(at)?;
        let after = rest.strip_prefix(&times(span.start, span.duration))?;
        Some(Self {
            times_at,
            before,
            after,
        })
    }

    /// Writes it as a field, with [`SHORTENED`] as its key.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let len = 1 + self.before.len() + self.after.len();
        bytes.push(SHORTENED);
        encode_varint(len as u64, bytes);
        bytes.push(self.times_at);
        bytes.extend_from_slice(self.before);
        bytes.extend_from_slice(self.after);
    }
}

/// The encoded span, without what was left out, in the content of a shortened one.
pub(super) fn body(content: &[u8]) -> &[u8] {
    content.get(1..).unwrap_or_default()
}

/// Writes the complete span to an empty buffer.
pub(super) fn complete(
    content: &[u8],
    trace_id: TraceId,
    (start, duration): (u64, u64),
    to: &mut Vec<u8>,
) {
    to.extend_from_slice(&TRACE_ID_HEADER);
    to.extend_from_slice(&trace_id.to_bytes());
    let rest = body(content);
    match content.first() {
        Some(times_at) if *times_at != HAS_TIMES => {
            let at = usize::from(*times_at);
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, &[][..]));
            to.extend_from_slice(before);
            to.extend_from_slice(&times(start, duration));
            to.extend_from_slice(after);
        }
        _ => to.extend_from_slice(rest),
    }
}

/// The times of a span, as most SDKs write them.
fn times(start: u64, duration: u64) -> [u8; 18] {
    let mut times = [0; 18];
    times[0] = START_KEY;
    times[1..9].copy_from_slice(&start.to_le_bytes());
    times[9] = END_KEY;
    times[10..].copy_from_slice(&start.saturating_add(duration).to_le_bytes());
    times
}
