//! Calls between services, counted over the stored traces.

use std::collections::{BTreeMap, HashMap};

use spoor_proto::jaeger::api_v2::DependencyLink;

use crate::{
    Search,
    query::limits::{MAX_RESPONSE_BYTES, Reader, TraceQueryError},
    tree::{Member, members},
};

/// The most traces in which calls are counted, the newest ones. A store may have millions, whose
/// IDs alone would take hundreds of megabytes.
pub(crate) const MAX_COUNTED_TRACES: usize = 500_000;
/// The memory of a pair of services besides their names.
const BYTES_PER_PAIR: usize = 128;

/// The calls between services, sorted by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependencies {
    pub(crate) calls: Vec<DependencyLink>,
    /// The number of traces that were too large to be counted.
    pub(crate) left_out: usize,
    /// True if the window has more than [`MAX_COUNTED_TRACES`] traces.
    pub(crate) is_partial: bool,
}

/// Counts the pairs of parent and child in traces that have a span starting in a window, which is
/// given in nanoseconds since the Unix epoch. Children of the same service count too, whatever
/// their kind, as in Jaeger's memory storage.
///
/// # Errors
/// [`TraceQueryError::ResponseTooLarge`] and [`TraceQueryError::TooSlow`].
pub(crate) fn dependencies(
    reader: &Reader,
    start: u64,
    end: u64,
) -> Result<Dependencies, TraceQueryError> {
    let mut counts = Counts::default();
    let mut left_out = 0;
    let search = Search {
        start_min: Some(start),
        start_max: Some(end),
        limit: MAX_COUNTED_TRACES + 1,
        ..Search::default()
    };
    let found = reader.find(&search)?;
    let is_partial = found.len() > MAX_COUNTED_TRACES;
    // One at a time: together they may be as large as the store.
    for id in found.into_iter().take(MAX_COUNTED_TRACES) {
        match reader.trace(id) {
            Ok(Some(trace)) => counts.add(&members(trace.decode()))?,
            Ok(None) => {}
            Err(TraceQueryError::TraceTooLarge(_)) => left_out += 1,
            Err(error) => return Err(error),
        }
    }
    let calls = counts.calls.into_iter();
    let calls = calls.map(|((parent, child), call_count)| DependencyLink {
        parent,
        child,
        call_count,
        source: String::new(),
    });
    Ok(Dependencies {
        calls: calls.collect(),
        left_out,
        is_partial,
    })
}

/// The number of calls for each caller and callee.
#[derive(Debug, Default)]
struct Counts {
    calls: BTreeMap<(String, String), u64>,
    /// The memory of all pairs. A few services can form many pairs, each with two names.
    bytes: usize,
}

impl Counts {
    fn add(&mut self, members: &[Member]) -> Result<(), TraceQueryError> {
        let by_id: HashMap<&[u8], &Member> = members
            .iter()
            .map(|member| (member.span.span_id.as_slice(), member))
            .collect();
        for child in members {
            let Some(parent) = child.parent_id().and_then(|id| by_id.get(id)) else {
                continue;
            };
            let link = (parent.service().to_owned(), child.service().to_owned());
            let bytes = link.0.len() + link.1.len() + BYTES_PER_PAIR;
            let count = self.calls.entry(link).or_default();
            *count += 1;
            if *count == 1 {
                self.bytes += bytes;
            }
            if self.bytes > MAX_RESPONSE_BYTES {
                return Err(TraceQueryError::ResponseTooLarge);
            }
        }
        Ok(())
    }
}
