//! Summaries of traces, as lists show them.

use std::collections::BTreeMap;

use spoor_proto::jaeger::api_v3::{ServiceSummary, TraceSummary};

use prost::Message;

use super::limits::{MAX_RESPONSE_BYTES, Reader, TraceQueryError};
use crate::{
    Search, StoredTrace, TraceId,
    tree::{Member, Position, Row, Tree},
};

/// The operation name shown for a trace that is too large to be read.
const TOO_LARGE: &str = "(this trace is too large to be shown)";

/// The traces that match, the newest first. They are read one at a time.
///
/// # Errors
/// [`TraceQueryError::ResponseTooLarge`] and [`TraceQueryError::TooSlow`].
pub fn summaries(reader: &Reader, search: &Search) -> Result<Vec<TraceSummary>, TraceQueryError> {
    let mut left = MAX_RESPONSE_BYTES;
    let mut summaries = Vec::new();
    for id in reader.find(search)? {
        let summary = match reader.trace(id) {
            Ok(Some(trace)) => summary(&trace),
            Ok(None) => continue,
            // Listed nevertheless, so that a search finds the trace ID.
            Err(TraceQueryError::TraceTooLarge(_)) => too_large(id),
            Err(error) => return Err(error),
        };
        let fits = left.checked_sub(memory(&summary));
        left = fits.ok_or(TraceQueryError::ResponseTooLarge)?;
        summaries.push(summary);
    }
    Ok(summaries)
}

fn too_large(id: TraceId) -> TraceSummary {
    TraceSummary {
        trace_id: id.to_string(),
        root_operation_name: TOO_LARGE.to_owned(),
        ..TraceSummary::default()
    }
}

fn summary(trace: &StoredTrace) -> TraceSummary {
    let tree = Tree::new(trace.decode());
    let mut services: BTreeMap<&str, ServiceSummary> = BTreeMap::new();
    for member in tree.rows().iter().map(|row| &row.member) {
        let service = services.entry(member.service()).or_default();
        service.span_count += 1;
        service.error_span_count += i32::from(member.is_error());
    }
    let services = services.into_iter().map(|(name, counts)| ServiceSummary {
        name: name.to_owned(),
        ..counts
    });
    let root = tree.root().map(|row| &row.member);
    let is_orphan = |row: &&Row| row.position == Position::MissingParent;
    TraceSummary {
        trace_id: trace.id.to_string(),
        root_service_name: root.map_or("", Member::service).to_owned(),
        root_operation_name: root.map_or("", |root| &root.span.name).to_owned(),
        min_start_time_unix_nano: tree.start(),
        max_end_time_unix_nano: tree.end(),
        span_count: count(tree.rows().len()),
        error_span_count: count(tree.errors()),
        orphan_span_count: count(tree.rows().iter().filter(is_orphan).count()),
        services: services.collect(),
    }
}

/// The memory of a summary in bytes, approximately. Services are counted by their size in memory
/// too, since one with a short name is encoded in about eight bytes.
fn memory(summary: &TraceSummary) -> usize {
    summary.encoded_len() + summary.services.len() * size_of::<ServiceSummary>()
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_count_by_their_size_in_memory() {
        let services = vec![ServiceSummary::default(); 1_000];
        let least = size_of_val(services.as_slice());
        let summary = TraceSummary {
            services,
            ..TraceSummary::default()
        };
        assert!(memory(&summary) >= least);
    }
}
