//! Clock skew: a span that starts before its parent shows that two clocks disagree.
//!
//! The correction is Jaeger's: spans of one host share a clock; a span of another host, or of an
//! unknown one, that does not fit is moved to where the latencies of call and response are equal,
//! or to its parent's start if it is longer than its parent, and the spans below it on the same
//! clock move with it.
//!
//! There are two differences. A child that starts within its parent and ends after it is not moved,
//! since background work looks like that. And the correction has no limit, while Jaeger has one
//! that is 0 by default, so that an unconfigured Jaeger only warns.
//!
//! Source: Jaeger 2.13, `jaegerquery/internal/adjuster/clockskew.go`.

use std::{collections::HashMap, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::any_value::Value,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;

use super::{member::spans_mut, value, warnings};

/// Moves spans that start before their parent, with the spans below them on the same clock, and
/// adds a warning to each. The batches may be of several traces. Corrected batches do not change
/// again.
pub fn correct_clock_skew(batches: &mut [ResourceSpans]) {
    let corrections = corrections(&timed(batches));
    for (span, nanos) in spans_mut(batches).zip(corrections) {
        if nanos > 0 {
            shift(span, nanos);
        }
    }
}

/// One year: a larger shift is not caused by a wrong clock. Times are expected in nanoseconds; in
/// another unit, they are decades too early.
const MAX_CLOCK_ERROR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn shift(span: &mut Span, nanos: u64) {
    for time in [&mut span.start_time_unix_nano, &mut span.end_time_unix_nano] {
        *time = time.saturating_add(nanos);
    }
    for event in &mut span.events {
        event.time_unix_nano = event.time_unix_nano.saturating_add(nanos);
    }
    let by = Duration::from_nanos(nanos);
    let warning = if by < MAX_CLOCK_ERROR {
        format!(
            "Clock skew: this span's timestamps were adjusted by {by:?}, since it or a span above it started before its parent"
        )
    } else {
        "Implausible start: this span's timestamps were adjusted by more than a year; check that they are in nanoseconds".to_owned()
    };
    warnings::add(span, warning);
}

/// The input of the correction.
#[derive(Clone, Copy, Debug)]
struct Timed<'a> {
    trace: &'a [u8],
    id: &'a [u8],
    parent: &'a [u8],
    start: u64,
    end: u64,
    clock: Clock,
}

/// The host whose clock timed a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// A host's clock, which is right or wrong for all of its spans alike.
    Host(usize),
    /// The clocks of a resource that names no host; its spans may be of several hosts.
    Resource(usize),
}

fn timed(batches: &[ResourceSpans]) -> Vec<Timed<'_>> {
    let mut clocks = Clocks::default();
    let mut timed = Vec::new();
    for batch in batches {
        let clock = clocks.of(batch.resource.as_ref());
        let spans = batch.scope_spans.iter().flat_map(|scope| &scope.spans);
        timed.extend(spans.map(|span| Timed {
            trace: &span.trace_id,
            id: &span.span_id,
            parent: &span.parent_span_id,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano.max(span.start_time_unix_nano),
            clock,
        }));
    }
    timed
}

/// Numbers hosts and resources.
#[derive(Default)]
struct Clocks {
    hosts: HashMap<String, usize>,
    resources: HashMap<Vec<u8>, usize>,
}

impl Clocks {
    fn of(&mut self, resource: Option<&Resource>) -> Clock {
        if let Some(host) = resource.and_then(host) {
            let next = self.hosts.len();
            return Clock::Host(*self.hosts.entry(host).or_insert(next));
        }
        let bytes = resource.map(Message::encode_to_vec).unwrap_or_default();
        let next = self.resources.len();
        Clock::Resource(*self.resources.entry(bytes).or_insert(next))
    }
}

/// The first of the host's ID, address and name that the resource has.
fn host(resource: &Resource) -> Option<String> {
    let attribute = |key: &&str| {
        let found = resource.attributes.iter().find(|found| found.key == **key);
        found.and_then(|found| found.value.as_ref())
    };
    let named = ["host.id", "host.ip", "host.name"]
        .iter()
        .find_map(attribute)?;
    let text = match &named.value {
        Some(Value::ArrayValue(addresses)) => value::text(addresses.values.first()),
        _ => value::text(Some(named)),
    };
    (!text.is_empty()).then_some(text)
}

/// The correction of each span, in nanoseconds.
fn corrections(spans: &[Timed<'_>]) -> Vec<u64> {
    let mut by_id: HashMap<(&[u8], &[u8]), usize> = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        by_id.entry((span.trace, span.id)).or_insert(index);
    }
    let mut children = vec![Vec::new(); spans.len()];
    let mut ready = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let parent = by_id.get(&(span.trace, span.parent));
        match parent.and_then(|parent| children.get_mut(*parent)) {
            Some(list) => list.push(index),
            None => ready.push(index),
        }
    }
    let mut corrections = vec![0; spans.len()];
    // Parents before their children. Spans in a cycle are below no root and are not moved.
    while let Some(index) = ready.pop() {
        let below = children.get_mut(index).map(std::mem::take);
        let (Some(parent), Some(parent_correction), Some(below)) =
            (spans.get(index), corrections.get(index).copied(), below)
        else {
            continue;
        };
        for child in below {
            if let (Some(span), Some(nanos)) = (spans.get(child), corrections.get_mut(child)) {
                *nanos = correction(span, parent, parent_correction);
                ready.push(child);
            }
        }
    }
    corrections
}

fn correction(child: &Timed<'_>, parent: &Timed<'_>, parent_correction: u64) -> u64 {
    let is_same_clock = child.clock == parent.clock;
    let inherited = if is_same_clock { parent_correction } else { 0 };
    let parent_start = parent.start.saturating_add(parent_correction);
    let is_early = child.start.saturating_add(inherited) < parent_start;
    // One host has one clock, so the instrumentation reported the early start on purpose.
    let is_trusted = is_same_clock && matches!(child.clock, Clock::Host(_));
    if is_trusted || !is_early {
        return inherited;
    }
    let spare = (parent.end - parent.start).saturating_sub(child.end - child.start);
    // The child is early, so this cannot underflow.
    (parent_start - child.start).saturating_add(spare / 2)
}
