//! The batches of spans to forward.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::{
    annotation::{Annotation, Buffers},
    position::Position,
};
use crate::{
    hash::source_hash,
    log::{CHILDREN_KEY, InternTable, Interned, MAX_FIELD_HEADER_BYTES, Part, is_concatenation},
    span::{NewSource, NewSpan},
};

/// The size at which a batch is complete, in bytes. The Collector accepts 4 MiB by default.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The most spans in a batch. Some of Jaeger's storage backends write them one after another, and
/// have to complete within the deadline of an attempt, 4 s in the Collector: otherwise a batch
/// would be repeated for ever.
const MAX_BATCH_SPANS: usize = 1_000;
/// The key of `ExportTraceServiceRequest.resource_spans`.
pub(super) const RESOURCE_SPANS_FIELD: u8 = 1 << 3 | 2;

/// Spans to send in one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// An encoded `ExportTraceServiceRequest`.
    pub request: Bytes,
    /// The number of spans in it.
    pub spans: u64,
    /// The number of the batch, in the order in which they were completed.
    pub(super) number: u64,
    /// The place of its first span.
    pub(super) first_span: Position,
    /// The record of the journal that caused its last span.
    pub(super) last_record: u64,
}

/// Collects spans in batches.
#[derive(Default)]
pub(super) struct Batches {
    complete: VecDeque<Batch>,
    complete_bytes: usize,
    open: OpenBatch,
    /// The number of batches completed so far.
    completed: u64,
    buffers: Buffers,
}

impl Batches {
    /// The bytes that wait to be sent.
    pub(super) fn bytes(&self) -> usize {
        self.complete_bytes + self.open.bytes()
    }

    /// The place of the first span here, complete or not.
    pub(super) fn first_span(&self) -> Option<Position> {
        match self.complete.front() {
            Some(batch) => Some(batch.first_span),
            None => (!self.open.spans.is_empty()).then_some(self.open.first_span),
        }
    }

    /// Adds a span, with its place. While `interned` caches its source, this is compared with
    /// others only once for each batch, and its resource is not compared again for each of its
    /// scopes: a resource may be longer than thousands of spans, and have hundreds of thousands of
    /// scopes.
    pub(super) fn add(
        &mut self,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        annotation: &Annotation,
        at: Position,
        interned: &mut Interned,
    ) {
        if span.body.len() >= MAX_BATCH_BYTES {
            // In a batch of its own: a receiver that refuses it for its size refuses no others.
            self.complete();
        }
        if self.open.spans.is_empty() {
            self.open.first_span = at;
        }
        self.open.last_record = at.record;
        let serial = self.completed + 1;
        let source = interned
            .source_in(serial)
            .unwrap_or_else(|| self.open.intern(source, interned.resource_in(serial)));
        let resource = self.open.resource_of(source);
        interned.cache(serial, source, resource);
        let start = self.open.fields.len();
        annotation.write(span, &mut self.buffers, &mut self.open.fields);
        let field = start..self.open.fields.len();
        self.open.spans.push(OpenSpan {
            resource,
            source,
            field,
        });
        let is_large = self.open.bytes() >= MAX_BATCH_BYTES;
        if is_large || self.open.spans.len() >= MAX_BATCH_SPANS {
            self.complete();
        }
    }

    /// Completes the batch that is being collected, if it has spans.
    pub(super) fn complete(&mut self) {
        let open = &mut self.open;
        if open.spans.is_empty() {
            return;
        }
        let request = open.request();
        self.complete_bytes += request.len();
        self.complete.push_back(Batch {
            request: request.into(),
            spans: open.spans.len() as u64,
            number: self.completed,
            first_span: open.first_span,
            last_record: open.last_record,
        });
        self.completed += 1;
        open.clear();
    }

    /// Returns whether a batch is complete.
    pub(super) fn has_complete(&self) -> bool {
        !self.complete.is_empty()
    }

    /// The number of complete batches.
    pub(super) fn count(&self) -> usize {
        self.complete.len()
    }

    /// The oldest complete batch, unless a record after this one caused a span in it.
    pub(super) fn next(&mut self, last_record: u64) -> Option<Batch> {
        if self.complete.front()?.last_record > last_record {
            return None;
        }
        let batch = self.complete.pop_front()?;
        self.complete_bytes -= batch.request.len();
        Some(batch)
    }
}

/// The batch that is being collected.
#[derive(Default)]
struct OpenBatch {
    /// In the order in which they were added.
    spans: Vec<OpenSpan>,
    first_span: Position,
    last_record: u64,
    /// The spans, as fields of `ScopeSpans`.
    fields: Vec<u8>,
    resources: InternTable<Part>,
    /// The scopes, each with the number of its resource.
    sources: InternTable<(u16, Part)>,
    /// The resources and scopes.
    shared: Vec<u8>,
}

/// A span, with the numbers of its resource and source.
struct OpenSpan {
    resource: u16,
    source: u16,
    field: Range<usize>,
}

impl OpenBatch {
    fn bytes(&self) -> usize {
        self.fields.len() + self.shared.len()
    }

    /// The number of a source, which is added if it is new. The caller may know that of its resource.
    fn intern(&mut self, source: &NewSource<'_>, resource: Option<u16>) -> u16 {
        let resource = resource.unwrap_or_else(|| self.intern_resource(source));
        let hash = source_hash(source.resource_hash, source.scope);
        let known = self.sources.find(hash, |(of_resource, scope)| {
            *of_resource == resource && is_concatenation(scope.of(&self.shared), source.scope)
        });
        if let Some(known) = known {
            return known;
        }
        let scope = Part::append(&mut self.shared, source.scope);
        self.sources.add(hash, (resource, scope))
    }

    /// The number of a source's resource.
    fn resource_of(&self, source: u16) -> u16 {
        let source = self.sources.get(source);
        source.map_or(0, |(resource, _)| *resource)
    }

    fn intern_resource(&mut self, source: &NewSource<'_>) -> u16 {
        let known = self.resources.find(source.resource_hash, |known| {
            is_concatenation(known.of(&self.shared), source.resource)
        });
        if let Some(known) = known {
            return known;
        }
        let added = Part::append(&mut self.shared, source.resource);
        self.resources.add(source.resource_hash, added)
    }

    /// The encoded request. Its spans are grouped by resource and scope, since those of a trace, and
    /// of traces that are decided together, alternate between services.
    fn request(&mut self) -> Vec<u8> {
        // Stable, so spans of one source keep their order.
        self.spans.sort_by_key(|span| (span.resource, span.source));
        let headers = self.resources.len() + self.sources.len();
        let mut request = Vec::with_capacity(self.bytes() + headers * MAX_FIELD_HEADER_BYTES);
        let spans = &self.spans;
        for of_resource in spans.chunk_by(|one, next| one.resource == next.resource) {
            let sources = || of_resource.chunk_by(|one, next| one.source == next.source);
            let resource = self.resource(of_resource);
            let scopes = sources().map(|spans| {
                let len = self.scope_spans_len(spans);
                1 + encoded_len_varint(len as u64) + len
            });
            let len = resource.len() + scopes.sum::<usize>();
            request.push(RESOURCE_SPANS_FIELD);
            encode_varint(len as u64, &mut request);
            request.extend_from_slice(resource);
            for spans in sources() {
                request.push(CHILDREN_KEY);
                encode_varint(self.scope_spans_len(spans) as u64, &mut request);
                request.extend_from_slice(self.scope(spans));
                for span in spans {
                    request.extend_from_slice(self.field(span));
                }
            }
        }
        request
    }

    /// The resource of spans that share it.
    fn resource(&self, spans: &[OpenSpan]) -> &[u8] {
        let first = spans.first();
        let part = first.and_then(|span| self.resources.get(span.resource));
        part.map(|part| part.of(&self.shared)).unwrap_or_default()
    }

    /// The scope of spans that share it.
    fn scope(&self, spans: &[OpenSpan]) -> &[u8] {
        let first = spans.first();
        let source = first.and_then(|span| self.sources.get(span.source));
        let scope = source.map(|(_, scope)| scope.of(&self.shared));
        scope.unwrap_or_default()
    }

    fn field(&self, span: &OpenSpan) -> &[u8] {
        self.fields.get(span.field.clone()).unwrap_or_default()
    }

    /// The length of spans that share a scope, including the scope.
    fn scope_spans_len(&self, spans: &[OpenSpan]) -> usize {
        let fields: usize = spans.iter().map(|span| span.field.len()).sum();
        self.scope(spans).len() + fields
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.resources.clear();
        self.sources.clear();
        self.shared.clear();
        self.fields.clear();
        // One long span should not hold memory for ever.
        self.fields.shrink_to(2 * MAX_BATCH_BYTES);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use rstest::rstest;

    use super::{MAX_BATCH_BYTES, MAX_BATCH_SPANS};
    use crate::forward::tests::process::{
        Process, ROOT, SpanNumber, request, request_of, spans_of, table,
    };

    #[test]
    fn small_spans_are_limited_by_their_number() {
        let mut process = Process::start(64 << 20);
        let max = MAX_BATCH_SPANS as u64;
        let spans: Vec<SpanNumber> = (0..=max).map(|trace| (trace, ROOT)).collect();
        process.accept(&request(&spans, 0)).unwrap();
        process.flush();
        let batches = std::iter::from_fn(|| process.next_batch());
        let batches: Vec<_> = batches.map(|batch| batch.spans).collect();
        assert_eq!(batches, [max, 1]);
    }

    #[test]
    fn each_batch_has_the_resource_of_its_spans() {
        let mut process = Process::start(64 << 20);
        let max = MAX_BATCH_SPANS as u64;
        let spans: Vec<SpanNumber> = (0..=max).map(|trace| (trace, ROOT)).collect();
        process.accept(&request(&spans, 0)).unwrap();
        process.flush();
        let batches = std::iter::from_fn(|| process.next_batch());
        let resources = batches.map(|batch| {
            let request = ExportTraceServiceRequest::decode(batch.request).unwrap();
            request.resource_spans[0].resource.clone()
        });
        let resources: Vec<_> = resources.collect();
        assert_eq!(resources.len(), 2);
        assert!(resources[0].is_some());
        assert_eq!(resources[0], resources[1]);
    }

    #[test]
    fn large_span_has_a_batch_of_its_own() {
        let mut process = Process::start(64 << 20);
        for (trace, padding) in [(1, 0), (2, MAX_BATCH_BYTES), (3, 0)] {
            process.accept(&request(&[(trace, ROOT)], padding)).unwrap();
        }
        process.flush();
        let batches = std::iter::from_fn(|| process.next_batch());
        let batches: Vec<_> = batches.map(|batch| spans_of(&batch)).collect();
        assert_eq!(batches, [[(1, ROOT)], [(2, ROOT)], [(3, ROOT)]]);
    }

    #[test]
    fn spans_without_a_change_are_forwarded_as_they_came() {
        let mut process = Process::start(64 << 20);
        process.set_table(table(true, "100%"));
        // Without a root, whose attributes would change.
        let request = request(&[(2, 2), (2, 3), (4, 2)], 10);
        process.accept(&request).unwrap();
        process.decide();
        process.flush();
        let batch = process.next_batch().unwrap();
        assert_eq!(batch.spans, 3);
        assert_eq!(batch.request, request);
    }

    /// A span of a service in each of two scopes.
    fn in_two_scopes(service: &str, span: SpanNumber) -> Vec<u8> {
        let request = request_of(service, &[span], 0);
        let mut request = ExportTraceServiceRequest::decode(request.as_slice()).unwrap();
        let scopes = &mut request.resource_spans[0].scope_spans;
        let mut other = scopes[0].clone();
        other.schema_url = "https://example.com/1".to_owned();
        scopes.push(other);
        request.encode_to_vec()
    }

    #[rstest]
    #[case::passed_on(false)]
    #[case::decided(true)]
    fn resources_and_scopes_are_not_repeated(#[case] has_rules: bool) {
        let mut process = Process::start(64 << 20);
        if has_rules {
            process.set_table(table(true, "100%"));
        }
        for number in 1..=3 {
            for service in ["service-a", "service-b"] {
                process
                    .accept(&in_two_scopes(service, (1, number)))
                    .unwrap();
            }
        }
        process.decide();
        process.flush();
        let batch = process.next_batch().unwrap();
        assert_eq!(batch.spans, 12);
        let request = ExportTraceServiceRequest::decode(batch.request).unwrap();
        let services = request.resource_spans.iter().map(|of_service| {
            let attributes = &of_service.resource.as_ref().unwrap().attributes;
            let scopes = of_service.scope_spans.iter().map(|scope| {
                let ids = scope.spans.iter().map(|span| span.span_id.last().copied());
                (scope.schema_url.as_str(), ids.collect::<Option<Vec<_>>>())
            });
            (attributes[0].value.clone(), scopes.collect::<Vec<_>>())
        });
        let services: Vec<_> = services.collect();
        let ids = Some(vec![1, 2, 3]);
        let scopes = vec![("", ids.clone()), ("https://example.com/1", ids)];
        let found: Vec<_> = services.iter().map(|(_, scopes)| scopes).collect();
        assert_eq!(found, [&scopes, &scopes]);
        assert_ne!(services[0].0, services[1].0);
    }
}
