//! The batches of spans to forward.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{annotation::Annotation, position::Position, writer::RequestWriter};
use crate::span::{NewSource, NewSpan};

/// The size at which a batch is complete, in bytes. The Collector accepts 4 MiB by default.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// The most spans in a batch. Some of Jaeger's storages write them one after another, and have to
/// complete within the deadline of an attempt, 4 s in the Collector: otherwise a batch would be
/// repeated for ever.
const MAX_BATCH_SPANS: u64 = 1_000;

/// Spans to send in one request.
#[derive(Clone, Debug)]
pub struct Batch {
    /// An encoded `ExportTraceServiceRequest`.
    pub request: Bytes,
    /// The number of spans in it.
    pub spans: u64,
    /// Batches are numbered in their order.
    pub(super) number: u64,
    /// The place of its first span.
    pub(super) first_span: Position,
    /// The record of the journal that caused its last span.
    pub(super) last_record: u64,
}

/// Collects spans in batches.
#[derive(Debug, Default)]
pub(super) struct Batches {
    complete: VecDeque<Batch>,
    complete_bytes: usize,
    /// The request of the next batch.
    request: RequestWriter,
    spans: u64,
    first_span: Position,
    last_record: u64,
    /// The number of batches completed so far.
    completed: u64,
    /// The fields that are added to a span.
    added: Vec<u8>,
}

impl Batches {
    /// The bytes that wait to be sent.
    pub(super) fn bytes(&self) -> usize {
        self.complete_bytes + self.request.bytes()
    }

    /// The place of the first span here, complete or not.
    pub(super) fn first_span(&self) -> Option<Position> {
        match self.complete.front() {
            Some(batch) => Some(batch.first_span),
            None => (self.spans > 0).then_some(self.first_span),
        }
    }

    /// Adds a span, with its place.
    pub(super) fn add(
        &mut self,
        span: &NewSpan<'_>,
        source: &NewSource<'_>,
        as_kept: &Annotation,
        at: Position,
    ) {
        if span.body.len() >= MAX_BATCH_BYTES {
            // In a batch of its own: a receiver that refuses it for its size refuses no others.
            self.complete();
        }
        if self.spans == 0 {
            self.first_span = at;
        }
        self.last_record = at.record;
        self.added.clear();
        as_kept.write(span, &mut self.added);
        self.request.add(span, source, &self.added);
        self.spans += 1;
        let is_large = self.request.bytes() >= MAX_BATCH_BYTES;
        if is_large || self.spans >= MAX_BATCH_SPANS {
            self.complete();
        }
    }

    /// Completes the batch that is being collected, if it has spans.
    pub(super) fn complete(&mut self) {
        if self.spans == 0 {
            return;
        }
        let request = Bytes::from(self.request.take());
        self.complete_bytes += request.len();
        self.complete.push_back(Batch {
            request,
            spans: std::mem::take(&mut self.spans),
            number: self.completed,
            first_span: self.first_span,
            last_record: self.last_record,
        });
        self.completed += 1;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{MAX_BATCH_BYTES, MAX_BATCH_SPANS};
    use crate::forward::tests::process::{Process, ROOT, SpanNumber, request, spans_of};

    #[test]
    fn small_spans_are_limited_by_their_number() {
        let mut process = Process::start(64 << 20);
        let spans: Vec<SpanNumber> = (0..=MAX_BATCH_SPANS).map(|trace| (trace, ROOT)).collect();
        process.accept(&request(&spans, 0)).unwrap();
        process.flush();
        let batches = std::iter::from_fn(|| process.state.next_batch());
        let batches: Vec<_> = batches.map(|batch| batch.spans).collect();
        assert_eq!(batches, [MAX_BATCH_SPANS, 1]);
    }

    #[test]
    fn large_span_has_a_batch_of_its_own() {
        let mut process = Process::start(64 << 20);
        for (trace, padding) in [(1, 0), (2, MAX_BATCH_BYTES), (3, 0)] {
            process.accept(&request(&[(trace, ROOT)], padding)).unwrap();
        }
        process.flush();
        let batches = std::iter::from_fn(|| process.state.next_batch());
        let batches: Vec<_> = batches.map(|batch| spans_of(&batch)).collect();
        assert_eq!(batches, [[(1, ROOT)], [(2, ROOT)], [(3, ROOT)]]);
    }
}
