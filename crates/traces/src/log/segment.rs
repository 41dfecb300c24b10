//! A segment of the log: the bytes of spans, and columns that index them.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Instant,
};

use prost::encoding::decode_varint;

use super::{
    intern::{InternTable, OperationEntry, Part, Source},
    pointer::{SpanAt, TraceAt},
    removal::REMOVED,
    shortened,
};
use crate::{
    TraceId,
    hash::{name_hash, source_hash},
    span::{NewSource, NewSpan, Signature},
};

/// Spans in the order of their arrival, and the traces whose first span is in this segment.
///
/// Once it is sealed, only the atomic fields of its traces change, so a search can read it without
/// a lock. A search reads a clone of the active segment, which still grows.
#[derive(Clone, Default)]
pub(crate) struct Segment {
    /// Increases with each segment, which distinguishes it from an earlier one in the same slot.
    pub(crate) serial: u64,
    /// Encoded spans, each with its key and length as a field of `ScopeSpans`, and between them the
    /// data that several spans share. In place of the key, [`SHORTENED`](shortened::SHORTENED) says
    /// that parts of a span are left out.
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: Vec<SpanEntry>,
    pub(crate) traces: Vec<TraceEntry>,
    /// The marks of its traces, each with the index of the first trace that has it: those that
    /// begin one after another usually have the same mark.
    marks: Vec<(usize, Mark)>,
    /// The names of the services.
    pub(crate) services: Vec<Part>,
    pub(crate) sources: InternTable<Source>,
    /// The resources of all sources, each as a source without a scope, since a resource may have
    /// thousands of scopes.
    pub(crate) resources: InternTable<Source>,
    pub(crate) operations: InternTable<OperationEntry>,
    /// The latest start of its spans.
    pub(crate) latest_start: u64,
    /// The time at which the segment was full.
    pub(super) sealed_at: Option<Instant>,
}

/// The namespace of spans without one, as in Kubernetes.
const DEFAULT_NAMESPACE: &str = "default";

/// A span in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpanEntry {
    /// In nanoseconds since 1970.
    pub(crate) start: u64,
    /// In nanoseconds.
    pub(crate) duration: u64,
    pub(crate) signature: Signature,
    pub(crate) trace: TraceAt,
    /// The previous span of the same trace.
    pub(crate) previous: Option<SpanAt>,
    /// The offset of its field in the segment's bytes.
    pub(crate) offset: u32,
    /// Its name, kind and service, among the segment's operations.
    pub(crate) operation: u16,
    /// Its resource and scope, among the segment's sources.
    pub(crate) source: u16,
}

/// The numbers that the owner of the log attaches to traces that begin about the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The output's number.
    pub(crate) output: u64,
    /// The tail sampler's number.
    pub(crate) sampler: u64,
}

/// A trace, in the segment of its first span.
#[derive(Debug)]
pub(crate) struct TraceEntry {
    pub(crate) id: TraceId,
    start: AtomicU64,
    last: AtomicU32,
    note: AtomicU32,
}

impl TraceEntry {
    pub(crate) fn new(id: TraceId, note: u32) -> Self {
        Self {
            id,
            start: AtomicU64::new(u64::MAX),
            last: AtomicU32::new(SpanAt::NONE),
            note: AtomicU32::new(note),
        }
    }

    /// The number that the owner of the log attached to the trace.
    pub(crate) fn note(&self) -> u32 {
        self.note.load(Ordering::Relaxed)
    }

    /// Returns whether its owner has removed it.
    pub(super) fn is_removed(&self) -> bool {
        self.note() == REMOVED
    }

    pub(crate) fn set_note(&self, note: u32) {
        self.note.store(note, Ordering::Relaxed);
    }

    /// The earliest start of its spans.
    pub(crate) fn start(&self) -> u64 {
        // Relaxed, like all accesses here: a reader combines it with nothing else, and the links
        // are followed only under the log's lock.
        self.start.load(Ordering::Relaxed)
    }

    /// The last span appended.
    pub(crate) fn last(&self) -> Option<SpanAt> {
        SpanAt::from_bits(self.last.load(Ordering::Relaxed))
    }

    /// Adds a span; returns the one before it. Only the log's writer, of which there is one, may
    /// call this.
    pub(crate) fn link(&self, span: SpanAt, start: u64) -> Option<SpanAt> {
        let previous = self.last();
        self.last.store(span.to_bits(), Ordering::Relaxed);
        if start < self.start() {
            self.start.store(start, Ordering::Relaxed);
        }
        previous
    }
}

impl Clone for TraceEntry {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            start: AtomicU64::new(self.start()),
            last: AtomicU32::new(self.last.load(Ordering::Relaxed)),
            note: AtomicU32::new(self.note()),
        }
    }
}

impl Segment {
    /// The most spans (and so traces) in one segment: a pointer has 16 bits for the index.
    pub(crate) const MAX_SPANS: usize = 1 << 16;

    pub(crate) fn new(serial: u64, capacity: usize) -> Self {
        Self {
            serial,
            bytes: Vec::with_capacity(capacity),
            ..Self::default()
        }
    }

    /// Empties the segment, so that its memory can be reused.
    pub(crate) fn recycle(&mut self, serial: u64) {
        self.serial = serial;
        self.bytes.clear();
        self.spans.clear();
        self.traces.clear();
        self.marks.clear();
        self.services.clear();
        self.sources.clear();
        self.resources.clear();
        self.operations.clear();
        self.latest_start = 0;
        self.sealed_at = None;
    }

    /// The namespace and the name of a source's service.
    pub(crate) fn service_of(&self, source: &Source) -> Option<(&str, &str)> {
        let service = self.services.get(usize::from(source.service))?;
        let text = |part: Part| std::str::from_utf8(part.of(&self.bytes)).unwrap_or_default();
        let namespace = match text(source.namespace) {
            "" => DEFAULT_NAMESPACE,
            named => named,
        };
        Some((namespace, text(*service)))
    }

    /// Frees memory that only a growing segment needs.
    pub(crate) fn seal(&mut self) {
        self.sealed_at = Some(Instant::now());
        self.spans.shrink_to_fit();
        self.traces.shrink_to_fit();
        self.marks.shrink_to_fit();
        self.services.shrink_to_fit();
        self.sources.seal();
        self.resources.seal();
        self.operations.seal();
    }

    /// Returns whether a span of `bytes` with a new source and operation still fits.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        // The buffer never grows: the bound counts its capacity, and copying it would delay the
        // writer.
        self.bytes.len() + bytes <= self.bytes.capacity()
            && self.spans.len() < Self::MAX_SPANS
            && self.sources.has_room()
            && self.operations.has_room()
    }

    /// The memory in use, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<SpanEntry>()
            + self.traces.capacity() * size_of::<TraceEntry>()
            + self.marks.capacity() * size_of::<(usize, Mark)>()
            + self.services.capacity() * size_of::<Part>()
            + self.sources.allocated()
            + self.resources.allocated()
            + self.operations.allocated()
            + size_of::<Self>()
    }

    /// Adds a trace, which has this mark.
    pub(super) fn add_trace(&mut self, trace: TraceEntry, mark: Mark) {
        if self.marks.last().is_none_or(|(_, last)| *last != mark) {
            self.marks.push((self.traces.len(), mark));
        }
        self.traces.push(trace);
    }

    /// The mark of the trace with this index.
    pub(super) fn mark(&self, index: usize) -> Mark {
        let begun = self.marks.partition_point(|(first, _)| *first <= index);
        let mark = begun.checked_sub(1).and_then(|last| self.marks.get(last));
        mark.map(|(_, mark)| *mark).unwrap_or_default()
    }

    /// A span's field in `ScopeSpans`: key, length and the encoded `Span`.
    pub(crate) fn field(&self, entry: &SpanEntry) -> &[u8] {
        let rest = self.bytes.get(entry.offset as usize..).unwrap_or_default();
        let (header, len) = field_header(rest);
        rest.get(..header + len).unwrap_or_default()
    }

    /// The encoded `Span`, possibly without its trace ID and its times.
    pub(crate) fn body(&self, entry: &SpanEntry) -> &[u8] {
        let content = self.content(entry);
        match self.is_shortened(entry) {
            true => shortened::body(content),
            false => content,
        }
    }

    fn is_shortened(&self, entry: &SpanEntry) -> bool {
        self.bytes.get(entry.offset as usize) == Some(&shortened::SHORTENED)
    }

    /// The content of a span's field.
    fn content(&self, entry: &SpanEntry) -> &[u8] {
        let rest = self.bytes.get(entry.offset as usize..).unwrap_or_default();
        let (header, len) = field_header(rest);
        rest.get(header..header + len).unwrap_or_default()
    }

    /// The encoded `Span`, to which what was left out is added in a buffer.
    fn complete_body<'s>(
        &'s self,
        trace_id: TraceId,
        entry: &SpanEntry,
        buffer: &'s mut Vec<u8>,
    ) -> &'s [u8] {
        let content = self.content(entry);
        if !self.is_shortened(entry) {
            return content;
        }
        buffer.clear();
        let times = (entry.start, entry.duration);
        shortened::complete(content, trace_id, times, buffer);
        buffer
    }

    /// A span with its source, to append them to another log. The buffer may be reused for the next
    /// one.
    pub(crate) fn read<'s>(
        &'s self,
        trace_id: TraceId,
        entry: &SpanEntry,
        buffer: &'s mut Vec<u8>,
    ) -> Option<(NewSpan<'s>, StoredSource<'s>)> {
        let source = self.sources.get(entry.source)?;
        let operation = self.operations.get(entry.operation)?;
        let service = self.services.get(usize::from(source.service))?;
        let span = NewSpan {
            trace_id,
            body: self.complete_body(trace_id, entry, buffer),
            name: operation.name.of(&self.bytes),
            kind: operation.kind,
            start: entry.start,
            duration: entry.duration,
            signature: entry.signature,
            start_at: 0,
        };
        let source = StoredSource {
            resource: [source.resource.of(&self.bytes)],
            resource_hash: source.resource_hash,
            scope: [source.scope.of(&self.bytes)],
            service: service.of(&self.bytes),
            namespace: source.namespace.of(&self.bytes),
        };
        Some((span, source))
    }

    /// Finds a source or adds it. The caller may know a sibling, which has the same resource.
    pub(super) fn intern_source(&mut self, source: &NewSource<'_>, sibling: Option<Source>) -> u16 {
        let hash = source_hash(source.resource_hash, source.scope);
        let sibling = sibling.or_else(|| self.find_resource(source));
        let known = sibling.and_then(|sibling| self.find_source(hash, source, &sibling));
        if let Some(index) = known {
            return index;
        }
        let of_resource = sibling.unwrap_or_else(|| self.add_resource(source));
        let scope = Part::append(&mut self.bytes, source.scope);
        let added = Source {
            scope,
            ..of_resource
        };
        self.sources.add(hash, added)
    }

    /// Returns the number of a source's bytes that the segment has already.
    pub(super) fn known_bytes(&self, source: &NewSource<'_>, sibling: Option<Source>) -> usize {
        let Some(sibling) = sibling.or_else(|| self.find_resource(source)) else {
            return 0;
        };
        let hash = source_hash(source.resource_hash, source.scope);
        match self.find_source(hash, source, &sibling) {
            Some(_) => source.max_bytes(),
            None => source.max_bytes() - source.scope_bytes(),
        }
    }

    /// Adds a resource with its namespace and service, and returns it as a source without a scope.
    fn add_resource(&mut self, source: &NewSource<'_>) -> Source {
        let added = Source {
            resource: Part::append(&mut self.bytes, source.resource),
            resource_hash: source.resource_hash,
            scope: Part::default(),
            namespace: Part::append(&mut self.bytes, &[source.namespace]),
            service: self.intern_service(source.service),
        };
        self.resources.add(source.resource_hash, added);
        added
    }

    fn find_resource(&self, source: &NewSource<'_>) -> Option<Source> {
        let found = self.resources.find(source.resource_hash, |known| {
            is_concatenation(known.resource.of(&self.bytes), source.resource)
        });
        found.and_then(|index| self.resources.get(index).copied())
    }

    fn find_source(&self, hash: u64, source: &NewSource<'_>, sibling: &Source) -> Option<u16> {
        // The sibling's resource is equal, so its bytes need no comparison.
        self.sources.find(hash, |known| {
            known.resource == sibling.resource
                && is_concatenation(known.scope.of(&self.bytes), source.scope)
        })
    }

    /// Finds a service or adds it: there are few in a segment, unless each span has its own.
    fn intern_service(&mut self, name: &[u8]) -> u16 {
        let known = self.services.iter().enumerate().rev();
        let found = known
            .take(MAX_SERVICES_COMPARED)
            .find(|(_, known)| known.of(&self.bytes) == name);
        if let Some((index, _)) = found {
            return index as u16;
        }
        self.services.push(Part::append(&mut self.bytes, &[name]));
        (self.services.len() - 1) as u16
    }

    /// Finds an operation or adds it.
    #[inline]
    pub(super) fn intern_operation(&mut self, service: u16, span: &NewSpan<'_>) -> u16 {
        let (name, kind) = (span.name, span.kind);
        let is_root = span.signature.contains(Signature::ROOT);
        let salt = u64::from(service) << 9 | u64::from(kind) << 1 | u64::from(is_root);
        let hash = name_hash(name, salt);
        let found = self.operations.find(hash, |known| {
            (known.service, known.kind, known.is_root) == (service, kind, is_root)
                && known.name.of(&self.bytes) == name
        });
        if let Some(index) = found {
            return index;
        }
        let name = Part::append(&mut self.bytes, &[name]);
        let added = OperationEntry {
            name,
            service,
            kind,
            is_root,
        };
        self.operations.add(hash, added)
    }
}

/// A resource and a scope in a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredSource<'a> {
    pub(crate) resource: [&'a [u8]; 1],
    pub(crate) resource_hash: u64,
    pub(crate) scope: [&'a [u8]; 1],
    pub(crate) service: &'a [u8],
    pub(crate) namespace: &'a [u8],
}

impl StoredSource<'_> {
    /// The source, to append it to another log, possibly after another one with the same resource.
    pub(crate) fn as_new(&self, shares_resource: bool) -> NewSource<'_> {
        NewSource {
            resource: &self.resource,
            resource_hash: self.resource_hash,
            resource_bytes: self.resource[0].len(),
            shares_resource,
            scope: &self.scope,
            service: self.service,
            namespace: self.namespace,
        }
    }
}

/// The most services that a new one is compared with. With more, one may be stored twice, which
/// only wastes space.
const MAX_SERVICES_COMPARED: usize = 64;

/// Returns whether some bytes equal the concatenated pieces.
pub(crate) fn is_concatenation(mut bytes: &[u8], pieces: &[&[u8]]) -> bool {
    for piece in pieces {
        match bytes.strip_prefix(*piece) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    bytes.is_empty()
}

/// The size of a field's key and length prefix, and the length of its content.
fn field_header(field: &[u8]) -> (usize, usize) {
    // The key takes one byte.
    let mut rest = field.get(1..).unwrap_or_default();
    match decode_varint(&mut rest) {
        Ok(len) => (field.len() - rest.len(), len as usize),
        Err(_) => (0, 0),
    }
}
