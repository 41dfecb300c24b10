//! Search: filters spans by their columns first, and reads their bytes last.

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::Search;
use crate::{
    TraceId, kind,
    log::{Segment, Snapshot, Source, SpanEntry},
    scan::{
        AttributeMatcher, Value, resource_attributes, scope_name, searched_attributes, status_word,
    },
    span::Signature,
};

/// The number of spans in a segment after which a search checks again whether to proceed.
pub(super) const SPANS_BETWEEN_CHECKS: usize = 1 << 12;

/// The IDs of the traces that match, the newest first; `None` once `proceed` returns false. Traces
/// that are evicted meanwhile may be left out.
pub(super) fn find(
    snapshot: &Snapshot,
    search: &Search,
    proceed: &dyn Fn() -> bool,
) -> Option<Vec<TraceId>> {
    if search.limit == 0 {
        return Some(Vec::new());
    }
    let query = Query::new(search);
    let mut found = NewestTraces {
        limit: search.limit,
        traces: BTreeMap::new(),
    };
    for (slot, segment) in snapshot.newest_first().take_while(|_| proceed()) {
        // A trace starts no later than its spans, so no trace in this segment can be newer.
        if found.is_newer_than(segment.latest_start) {
            continue;
        }
        let Some(segment_query) = SegmentQuery::new(&query, &segment) else {
            continue;
        };
        let chunks = segment.spans.rchunks(SPANS_BETWEEN_CHECKS);
        for spans in chunks.take_while(|_| proceed()) {
            let spans = spans.iter().rev();
            for span in spans.filter(|span| segment_query.may_match(span)) {
                let Some((serial, start, id)) = snapshot.trace_of(slot, &segment, span) else {
                    continue;
                };
                // Its segment and index distinguish traces that started at the same time.
                let key = (start, serial, span.trace.index());
                // The bytes come last: decoding attributes costs more than all columns together.
                if !found.accepts(key) || !segment_query.has_attributes(span) {
                    continue;
                }
                found.add(key, id);
            }
        }
    }
    proceed().then(|| found.traces.into_values().rev().collect())
}

/// The indices of a service in a segment, sorted. There may be thousands.
pub(super) fn services_named(segment: &Segment, service: &str) -> Vec<u16> {
    let names = segment.services.iter().enumerate();
    let named = names.filter(|(_, name)| name.of(&segment.bytes) == service.as_bytes());
    named.map(|(index, _)| index as u16).collect()
}

/// The sort key of a trace: its start, the serial number of its segment, and its index there.
type SortKey = (u64, u64, usize);

/// The newest traces so far, at most `limit`.
struct NewestTraces {
    limit: usize,
    traces: BTreeMap<SortKey, TraceId>,
}

impl NewestTraces {
    /// Returns whether a trace that started at this time or earlier cannot be among the results.
    fn is_newer_than(&self, start: u64) -> bool {
        let oldest = self.traces.first_key_value();
        self.traces.len() >= self.limit && oldest.is_some_and(|((oldest, ..), _)| *oldest > start)
    }

    fn accepts(&self, key: SortKey) -> bool {
        let is_full = self.traces.len() >= self.limit;
        let oldest = self.traces.first_key_value();
        let is_newer = oldest.is_none_or(|(oldest, _)| key > *oldest);
        (!is_full || is_newer) && !self.traces.contains_key(&key)
    }

    fn add(&mut self, key: SortKey, id: TraceId) {
        self.traces.insert(key, id);
        if self.traces.len() > self.limit {
            self.traces.pop_first();
        }
    }
}

/// A search, prepared for matching.
struct Query<'a> {
    search: &'a Search,
    duration: std::ops::RangeInclusive<u64>,
    start: std::ops::RangeInclusive<u64>,
    /// The bits that the span's signature must contain.
    present: Signature,
    /// The bits that it must not contain.
    absent: Option<Signature>,
    kind: Option<SpanKind>,
    attributes: Vec<(AttributeMatcher, Vec<Signature>)>,
    /// The indices of the attributes by their keys.
    by_key: HashMap<&'a [u8], Vec<usize>>,
}

impl<'a> Query<'a> {
    fn new(search: &'a Search) -> Self {
        let nanos =
            |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut query = Self {
            search,
            duration: search.duration_min.map_or(0, nanos)
                ..=search.duration_max.map_or(u64::MAX, nanos),
            start: search.start_min.unwrap_or(0)..=search.start_max.unwrap_or(u64::MAX),
            present: Signature::default(),
            absent: None,
            kind: None,
            attributes: Vec::new(),
            by_key: HashMap::new(),
        };
        for (key, value) in &search.tags {
            match (key.as_str(), value.as_str()) {
                // OTLP has these as fields; Jaeger shows them as tags.
                ("error", "true") => query.present.insert(Signature::ERROR),
                ("error", "false") => query.absent = Some(Signature::ERROR),
                ("span.kind", word) if kind::from_name(word).is_some() => {
                    query.kind = kind::from_name(word)
                }
                (key, value) => {
                    let matcher = AttributeMatcher::new(key, value);
                    let mut signatures = matcher.signatures();
                    match (key, value) {
                        (STATUS_CODE, "ERROR") => signatures.push(Signature::ERROR),
                        // No column has this, so the bytes of each span are read.
                        (STATUS_CODE, _) => signatures.push(Signature::default()),
                        _ => {}
                    }
                    let of_key = query.by_key.entry(key.as_bytes()).or_default();
                    of_key.push(query.attributes.len());
                    query.attributes.push((matcher, signatures));
                }
            }
        }
        query
    }

    /// The attributes that each source of a segment has in its resource or its scope, as sets of
    /// [`bit`]s. A segment may have 65,535 sources with one long resource, which is read once.
    fn attributes_of_sources(&self, segment: &Segment) -> Vec<u64> {
        let mut of_resources = HashMap::new();
        let of_source = |source: &Source| {
            let of_resource = of_resources.entry(source.resource).or_insert_with(|| {
                let mut found = 0;
                resource_attributes(source.resource.of(&segment.bytes), |name, value| {
                    found |= self.matching(name, value);
                });
                found
            });
            let (name, version) = scope_name(source.scope.of(&segment.bytes));
            let fields = [("otel.scope.name", name), ("otel.scope.version", version)];
            let present = fields.into_iter().filter(|(_, text)| !text.is_empty());
            present.fold(*of_resource, |found, (key, text)| {
                found | self.matching(key.as_bytes(), Value::Text(text.as_bytes()))
            })
        };
        segment.sources.iter().map(of_source).collect()
    }

    /// The attributes of the search that this attribute of a source matches, as a set of [`bit`]s.
    fn matching(&self, name: &[u8], value: Value<&[u8]>) -> u64 {
        let indices = self.by_key.get(name).into_iter().flatten();
        let matching = indices.filter(|index| {
            let attribute = self.attributes.get(**index);
            attribute.is_some_and(|(matcher, _)| matcher.matches(name, value))
        });
        matching.fold(0, |found, index| found | bit(*index))
    }
}

/// The bit of an attribute in a set of a search's attributes, of which the APIs accept at most 64.
fn bit(attribute: usize) -> u64 {
    1_u64.unbounded_shl(attribute as u32)
}

/// The tag in which Jaeger shows a span's status.
const STATUS_CODE: &str = "otel.status_code";

/// A query, translated to the indices of one segment.
struct SegmentQuery<'a> {
    query: &'a Query<'a>,
    segment: &'a Segment,
    /// For each operation, whether a match may have it. Empty if the search names neither a
    /// service, an operation nor a kind.
    operations: Vec<bool>,
    /// For each source, the attributes that its resource or scope has, as a set of [`bit`]s. Empty
    /// for a search without attributes.
    sources: Vec<u64>,
}

impl<'a> SegmentQuery<'a> {
    /// Returns `None` if nothing in the segment can match.
    fn new(query: &'a Query<'a>, segment: &'a Segment) -> Option<Self> {
        let search = query.search;
        let mut operations = Vec::new();
        if search.service.is_some() || search.operation.is_some() || query.kind.is_some() {
            let services = search.service.as_ref();
            let services = services.map(|name| services_named(segment, name));
            if services.as_ref().is_some_and(Vec::is_empty) {
                return None;
            }
            let searched_name = search.operation.as_ref().map(String::as_bytes);
            let flags = segment.operations.iter().map(|operation| {
                let (name, kind) = (operation.name.of(&segment.bytes), operation.kind);
                let is_of_service = |of: &Vec<u16>| of.binary_search(&operation.service).is_ok();
                services.as_ref().is_none_or(is_of_service)
                    && query.kind.is_none_or(|it| i32::from(kind) == it as i32)
                    && searched_name.is_none_or(|searched| name == searched)
            });
            operations.extend(flags);
            if !operations.contains(&true) {
                return None;
            }
        }
        // Once per source, which thousands of spans may share.
        let sources = match query.attributes.is_empty() {
            true => Vec::new(),
            false => query.attributes_of_sources(segment),
        };
        Some(Self {
            query,
            segment,
            operations,
            sources,
        })
    }

    /// Returns whether a span passes the checks on its columns.
    #[inline]
    fn may_match(&self, span: &SpanEntry) -> bool {
        let query = self.query;
        (self.operations.is_empty()
            || self
                .operations
                .get(usize::from(span.operation))
                .is_some_and(|may| *may))
            && query.start.contains(&span.start)
            && query.duration.contains(&span.duration)
            && span.signature.contains(query.present)
            && query.absent.is_none_or(|it| !span.signature.contains(it))
            && query
                .attributes
                .iter()
                .enumerate()
                .all(|(index, (_, signatures))| {
                    signatures.iter().any(|one| span.signature.contains(*one))
                        || self.source_has_attribute(index, span)
                })
    }

    /// Returns whether a span has the attributes of the search, in its source or in its bytes.
    fn has_attributes(&self, span: &SpanEntry) -> bool {
        let attributes = self.query.attributes.iter().enumerate();
        let mut missing: Vec<_> = attributes
            .filter(|(index, _)| !self.source_has_attribute(*index, span))
            .map(|(_, (matcher, _))| matcher)
            .collect();
        if !missing.is_empty() {
            let body = self.segment.body(span);
            searched_attributes(body, |name, value| {
                missing.retain(|matcher| !matcher.matches(name, value));
            });
            if missing.iter().any(|matcher| matcher.has_key(STATUS_CODE)) {
                let status = Value::Text(status_word(body).as_bytes());
                missing.retain(|matcher| !matcher.matches(STATUS_CODE.as_bytes(), status));
            }
        }
        missing.is_empty()
    }

    fn source_has_attribute(&self, attribute: usize, span: &SpanEntry) -> bool {
        let source = self.sources.get(usize::from(span.source));
        source.is_some_and(|has| has & bit(attribute) != 0)
    }
}
