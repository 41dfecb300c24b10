//! One pass over an encoded `ExportTraceServiceRequest`: validates it and finds its spans.
//!
//! Nothing is copied or decoded: the result says where things are in the bytes. What passes can
//! be decoded by prost; what prost refuses doesn't pass.

mod attribute;
mod resource;
mod span;
mod weight;
mod wire;

pub(crate) use attribute::{Signature, Wanted};
pub(crate) use resource::{resource_attributes, scope_name};
pub(crate) use span::{ScannedSpan, flags, span_attributes, status_word, trace_state};
use std::ops::Range;
pub(crate) use weight::decoded_bytes;

use wire::{BYTES, Fault, Reader, key};

use crate::log::{NewSource, NewSpan};

/// Why bytes are no `ExportTraceServiceRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no valid ExportTraceServiceRequest: it {fault} (before byte {at} of {len})")]
pub struct InvalidRequest {
    fault: Fault,
    at: usize,
    len: usize,
}

/// Why a span can't be taken although the request is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Its trace id is zero or not of 16 bytes.
    TraceId,
    /// Its span id is zero or not of 8 bytes.
    SpanId,
}

/// What a pass has found, in slices of the request.
///
/// Resources and scopes without a valid span are left out: two bytes of a request make an empty
/// one, and what is kept of it takes twenty times as much.
#[derive(Debug, Default)]
pub(crate) struct Scanned<'a> {
    pub(crate) spans: Vec<ScannedSpan<'a>>,
    pub(crate) scopes: Vec<ScannedScope>,
    pub(crate) resources: Vec<ScannedResource<'a>>,
    /// Spans with an invalid trace id.
    pub(crate) without_trace_id: u64,
    /// Spans with an invalid span id.
    pub(crate) without_span_id: u64,
    resource_parts: Vec<&'a [u8]>,
    scope_parts: Vec<&'a [u8]>,
}

/// A `ScopeSpans` in a request.
#[derive(Clone, Debug)]
pub(crate) struct ScannedScope {
    /// Index into the scanned resources.
    pub(crate) resource: u32,
    parts: Range<usize>,
}

/// A `ResourceSpans` in a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScannedResource<'a> {
    /// The value of `service.name`.
    pub(crate) service: &'a [u8],
    /// The value of `k8s.namespace.name`, else of `service.namespace`.
    pub(crate) namespace: &'a [u8],
    parts: Range<usize>,
}

/// Reads a request.
///
/// # Errors
/// [`InvalidRequest`] if prost couldn't decode it either.
pub(crate) fn scan(request: &[u8]) -> Result<Scanned<'_>, InvalidRequest> {
    let mut scanned = Scanned {
        spans: Vec::with_capacity(request.len() / TYPICAL_SPAN_BYTES + 1),
        ..Scanned::default()
    };
    let mut reader = Reader::new(request);
    match scanned.request(&mut reader) {
        Ok(()) => Ok(scanned),
        Err(fault) => Err(InvalidRequest {
            fault,
            at: reader.position(),
            len: request.len(),
        }),
    }
}

/// Checks an encoded `ExportTraceServiceRequest` as receivers do; returns how many valid spans it
/// has.
///
/// # Errors
/// [`InvalidRequest`] if it can't be decoded.
pub fn validate(request: &[u8]) -> Result<usize, InvalidRequest> {
    scan(request).map(|scanned| scanned.spans.len())
}

const TYPICAL_SPAN_BYTES: usize = 256;

impl<'a> Scanned<'a> {
    /// The resource and scope of a span.
    pub(crate) fn source(&self, span: &ScannedSpan<'_>) -> Option<NewSource<'_>> {
        let scope = self.scopes.get(span.scope as usize)?;
        let resource = self.resources.get(scope.resource as usize)?;
        Some(NewSource {
            resource: self.resource_parts.get(resource.parts.clone())?,
            scope: self.scope_parts.get(scope.parts.clone())?,
            service: resource.service,
            namespace: resource.namespace,
        })
    }

    fn request(&mut self, reader: &mut Reader<'a>) -> Result<(), Fault> {
        const RESOURCE_SPANS: u32 = key(1, BYTES);
        while let Some(key) = reader.key()? {
            match key {
                RESOURCE_SPANS => self.resource_spans(reader.message()?)?,
                other => reader.unknown(other, 1)?,
            }
        }
        Ok(())
    }

    fn resource_spans(&mut self, mut reader: Reader<'a>) -> Result<(), Fault> {
        const RESOURCE: u32 = key(1, BYTES);
        const SCOPE_SPANS: u32 = key(2, BYTES);
        const SCHEMA_URL: u32 = key(3, BYTES);
        let index = self.resources.len() as u32;
        let first_part = self.resource_parts.len();
        let first_scope = self.scopes.len();
        let mut found = ScannedResource::default();
        let (mut from, mut to) = (reader.position(), reader.position());
        while let Some(key) = reader.key()? {
            match key {
                SCOPE_SPANS => {
                    let part = reader.between(from, to);
                    keep_part(&mut self.resource_parts, part);
                    self.scope_spans(reader.message()?, index)?;
                    from = reader.position();
                }
                RESOURCE => resource::resource(reader.message()?, &mut found)?,
                SCHEMA_URL => drop(reader.text()?),
                other => reader.unknown(other, 3)?,
            }
            to = reader.position();
        }
        keep_part(&mut self.resource_parts, reader.between(from, to));
        if self.scopes.len() == first_scope {
            self.resource_parts.truncate(first_part);
            return Ok(());
        }
        found.parts = first_part..self.resource_parts.len();
        self.resources.push(found);
        Ok(())
    }

    fn scope_spans(&mut self, mut reader: Reader<'a>, resource: u32) -> Result<(), Fault> {
        const SCOPE: u32 = key(1, BYTES);
        const SPAN: u32 = key(2, BYTES);
        const SCHEMA_URL: u32 = key(3, BYTES);
        let index = self.scopes.len() as u32;
        let first_part = self.scope_parts.len();
        let first_span = self.spans.len();
        let (mut from, mut to) = (reader.position(), reader.position());
        while let Some(key) = reader.key()? {
            match key {
                SPAN => {
                    keep_part(&mut self.scope_parts, reader.between(from, to));
                    match span::span(reader.message()?, index)? {
                        Ok(span) => self.spans.push(span),
                        Err(Rejection::TraceId) => self.without_trace_id += 1,
                        Err(Rejection::SpanId) => self.without_span_id += 1,
                    }
                    from = reader.position();
                }
                SCOPE => resource::scope(reader.message()?)?,
                SCHEMA_URL => drop(reader.text()?),
                other => reader.unknown(other, 3)?,
            }
            to = reader.position();
        }
        keep_part(&mut self.scope_parts, reader.between(from, to));
        if self.spans.len() == first_span {
            self.scope_parts.truncate(first_part);
            return Ok(());
        }
        let parts = first_part..self.scope_parts.len();
        self.scopes.push(ScannedScope { resource, parts });
        Ok(())
    }
}

/// Keeps what stands between two spans or scopes in one piece.
fn keep_part<'a>(parts: &mut Vec<&'a [u8]>, part: &'a [u8]) {
    if !part.is_empty() {
        parts.push(part);
    }
}

impl<'a> From<&ScannedSpan<'a>> for NewSpan<'a> {
    fn from(span: &ScannedSpan<'a>) -> Self {
        Self {
            body: span.body,
            name: span.name,
            kind: span.kind,
            start: span.start,
            duration: span.duration,
            signature: span.signature,
        }
    }
}

#[cfg(test)]
mod tests;
