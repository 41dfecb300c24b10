//! One pass over an encoded `ExportTraceServiceRequest`: validates it and finds its spans.
//!
//! Nothing is copied or decoded: the result consists of slices of the request. The scan accepts
//! exactly the requests that prost can decode.

mod attribute;
mod decoded_size;
mod limits;
mod resource;
mod span;
mod wire;

use std::ops::{AddAssign, Range};

use spoor_policy::Namespace;

pub(crate) use attribute::{AttributeMatcher, Value};
pub(crate) use decoded_size::decoded_bytes;
pub use limits::Oversized;
pub(crate) use limits::SourceLimits;
pub(crate) use resource::{resource_attributes, scope_name};
pub(crate) use span::{
    copy_without_attribute, searched_attributes, span_attributes, status_word, trace_state,
};

use attribute::{Checked, Hashed};
use wire::{BYTES, key};
pub(crate) use wire::{Reader, WireError};

use crate::{
    TraceId,
    hash::resource_hash,
    memory::{CountedVec, OutOfMemory, Reservation},
    otlp_json,
    span::{NewSource, NewSpan},
};

/// Bytes that are not a valid `ExportTraceServiceRequest`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the body is not a valid ExportTraceServiceRequest: it {error} (before byte {at} of {len})"
)]
pub struct InvalidRequest {
    error: WireError,
    at: usize,
    len: usize,
}

/// Failure to scan a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The request cannot be decoded.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// There is no memory for the index of the spans, or for the spans themselves.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

/// A reason to end a pass early.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum Stop {
    Invalid(#[from] WireError),
    OutOfMemory(#[from] OutOfMemory),
}

/// The numbers of spans rejected, by reason. Each span counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Spans with a trace ID that is zero or not 16 bytes long.
    pub trace_id: u64,
    /// Spans with a span ID that is zero or not 8 bytes long.
    pub span_id: u64,
    /// Spans with a parent span ID that is neither empty nor 8 bytes long.
    pub parent_span_id: u64,
    /// Spans whose resource or scope is too large, or has a name or version that is too long.
    pub oversized: u64,
    /// The first reason for which spans were counted as `oversized`.
    pub first_oversized: Option<Oversized>,
}

impl AddAssign for Rejected {
    fn add_assign(&mut self, other: Self) {
        self.trace_id += other.trace_id;
        self.span_id += other.span_id;
        self.parent_span_id += other.parent_span_id;
        self.oversized += other.oversized;
        self.first_oversized = self.first_oversized.or(other.first_oversized);
    }
}

impl Rejected {
    /// The number of spans rejected for any reason.
    #[must_use]
    pub fn total(self) -> u64 {
        self.trace_id + self.span_id + self.parent_span_id + self.oversized
    }
}

/// The result of a pass, in slices of the request.
///
/// Resources and scopes without a valid span are left out, since an empty one has two bytes in a
/// request and would take twenty times as many here.
#[derive(Debug)]
pub(crate) struct Scanned<'a> {
    pub(crate) spans: CountedVec<NewSpan<'a>>,
    scopes: CountedVec<ScannedScope>,
    resources: CountedVec<ScannedResource<'a>>,
    pub(crate) rejected: Rejected,
    resource_parts: CountedVec<&'a [u8]>,
    scope_parts: CountedVec<&'a [u8]>,
}

/// The memory that each span takes elsewhere while a request is accepted: the hash of its trace ID.
const EXTRA_BYTES_PER_SPAN: usize = size_of::<u64>();

/// A `ScopeSpans` in a request.
#[derive(Clone, Debug)]
struct ScannedScope {
    /// Index into the scanned resources.
    resource: usize,
    parts: Range<usize>,
    spans: Range<usize>,
}

/// A `ResourceSpans` in a request.
#[derive(Clone, Debug, Default)]
struct ScannedResource<'a> {
    /// The value of `service.name`.
    service: &'a [u8],
    /// The length of the longest `service.name`. There may be several: `service` is the last, while
    /// queries show the first.
    service_bytes: usize,
    /// The value of `k8s.namespace.name`.
    kubernetes_namespace: &'a [u8],
    /// The value of `service.namespace`.
    service_namespace: &'a [u8],
    parts: Range<usize>,
    hash: u64,
    bytes: usize,
}

impl<'a> ScannedResource<'a> {
    /// The namespace in which policies are resolved: the one that Kubernetes confirms, or else
    /// `other`, or else `service.namespace`, which is any text that the service chose.
    fn namespace(&self, other: Option<&'a Namespace>) -> &'a [u8] {
        if !self.kubernetes_namespace.is_empty() {
            return self.kubernetes_namespace;
        }
        other.map_or(self.service_namespace, |other| other.as_str().as_bytes())
    }
}

/// Scans a request for a store, as [`scan_within`] does.
///
/// # Errors
/// As for [`scan_within`].
pub(crate) fn scan<'a>(
    request: &'a [u8],
    reservation: &mut Reservation,
) -> Result<Scanned<'a>, ScanError> {
    scan_within(request, SourceLimits::STORE, reservation)
}

/// Scans a request, and rejects the spans of resources and scopes that are longer than accepted.
/// The memory for its index is taken from the reservation.
///
/// # Errors
/// [`InvalidRequest`] if prost cannot decode the request, [`OutOfMemory`] if the index does not
/// fit.
pub(crate) fn scan_within<'a>(
    request: &'a [u8],
    limits: SourceLimits,
    reservation: &mut Reservation,
) -> Result<Scanned<'a>, ScanError> {
    let mut pass = Pass {
        scanned: Scanned::new(),
        limits,
        reservation,
    };
    let mut reader = Reader::new(request);
    match pass.request(&mut reader) {
        Ok(()) => Ok(pass.scanned),
        Err(Stop::OutOfMemory(error)) => Err(error.into()),
        Err(Stop::Invalid(error)) => Err(ScanError::Invalid(InvalidRequest {
            error,
            // The reader is positioned after the outermost invalid field, hence "before byte".
            at: reader.position(),
            len: request.len(),
        })),
    }
}

/// Scans an encoded `ExportTraceServiceRequest` as the receivers of a store do; returns the number
/// of valid spans.
///
/// # Errors
/// [`ScanError`] if it cannot be decoded.
pub fn validate(request: &[u8]) -> Result<usize, ScanError> {
    scan(request, &mut Reservation::unbounded()).map(|scanned| scanned.spans.len())
}

/// The length of a typical span, from which the number of spans in a request is estimated.
const TYPICAL_SPAN_BYTES: usize = 256;

impl<'a> Scanned<'a> {
    fn new() -> Self {
        Self {
            spans: CountedVec::new(EXTRA_BYTES_PER_SPAN),
            scopes: CountedVec::new(0),
            resources: CountedVec::new(0),
            rejected: Rejected::default(),
            resource_parts: CountedVec::new(0),
            scope_parts: CountedVec::new(0),
        }
    }

    /// Rejects all spans from `first_span` on if a field that they share is longer than its limit.
    /// Each field is given by its name, length and limit.
    fn reject_oversized(&mut self, first_span: usize, fields: [(&'static str, usize, usize); 3]) {
        let mut fields = fields.into_iter();
        let oversized = fields.find(|(_, bytes, max)| bytes > max);
        if let Some((field, bytes, max)) = oversized
            && self.spans.len() > first_span
        {
            let reason = Oversized { field, bytes, max };
            self.rejected.oversized += (self.spans.len() - first_span) as u64;
            self.rejected.first_oversized.get_or_insert(reason);
            self.spans.truncate(first_span);
        }
    }

    /// The trace IDs of the spans, in their order.
    pub(crate) fn trace_ids(&self) -> impl Iterator<Item = TraceId> + Clone {
        self.spans.iter().map(|span| span.trace_id)
    }

    /// The spans by their resource and scope, each with the hash of its trace ID. A resource
    /// without `k8s.namespace.name` is in `namespace`, or else in its `service.namespace`.
    pub(crate) fn by_source<'s>(
        &'s self,
        hashes: &'s [u64],
        namespace: Option<&'s Namespace>,
    ) -> impl Iterator<Item = (NewSource<'s>, impl Iterator<Item = (&'s NewSpan<'a>, u64)>)> {
        let mut last = None;
        self.scopes.iter().filter_map(move |scope| {
            let resource = self.resources.get(scope.resource)?;
            let spans = self.spans.get(scope.spans.clone())?.iter();
            let hashes = hashes.get(scope.spans.clone())?.iter().copied();
            let source = NewSource {
                resource: self.resource_parts.get(resource.parts.clone())?,
                resource_hash: resource.hash,
                resource_bytes: resource.bytes,
                scope: self.scope_parts.get(scope.parts.clone())?,
                service: resource.service,
                namespace: resource.namespace(namespace),
                shares_resource: last.replace(scope.resource) == Some(scope.resource),
            };
            Some((source, spans.zip(hashes)))
        })
    }
}

/// A pass in progress.
struct Pass<'a, 's> {
    scanned: Scanned<'a>,
    limits: SourceLimits,
    reservation: &'s mut Reservation,
}

impl<'a> Pass<'a, '_> {
    fn request(&mut self, reader: &mut Reader<'a>) -> Result<(), Stop> {
        const RESOURCE_SPANS: u32 = key(1, BYTES);
        // Reserved in advance: a growing list is copied, and takes more memory at each step.
        let expected = reader.rest().len() / TYPICAL_SPAN_BYTES + 1;
        self.scanned.spans.reserve(expected, self.reservation)?;
        while let Some(key) = reader.key()? {
            match key {
                RESOURCE_SPANS => self.resource_spans(reader.message()?)?,
                other => reader.skip_unknown(other, 1)?,
            }
        }
        Ok(())
    }

    fn resource_spans(&mut self, mut reader: Reader<'a>) -> Result<(), Stop> {
        const NAMESPACE: &str = "k8s.namespace.name or service.namespace";
        const RESOURCE: u32 = key(1, BYTES);
        const SCOPE_SPANS: u32 = key(2, BYTES);
        const SCHEMA_URL: u32 = key(3, BYTES);
        let index = self.scanned.resources.len();
        let first_part = self.scanned.resource_parts.len();
        let first_scope = self.scanned.scopes.len();
        let first_span = self.scanned.spans.len();
        let mut resource = ScannedResource::default();
        // Fields may come in any order, and a resource in several parts. Everything except the
        // scopes is kept: joined, these parts are a valid `ResourceSpans`.
        let (mut from, mut to) = (reader.position(), reader.position());
        while let Some(key) = reader.key()? {
            match key {
                SCOPE_SPANS => {
                    let part = reader.between(from, to);
                    keep_part(&mut self.scanned.resource_parts, part, self.reservation)?;
                    self.scope_spans(reader.message()?, index)?;
                    from = reader.position();
                }
                RESOURCE => resource::resource(reader.message()?, &mut resource)?,
                SCHEMA_URL => drop(reader.text()?),
                other => reader.skip_unknown(other, 3)?,
            }
            to = reader.position();
        }
        let part = reader.between(from, to);
        keep_part(&mut self.scanned.resource_parts, part, self.reservation)?;
        let parts = self.scanned.resource_parts.iter().skip(first_part);
        let bytes: usize = parts.map(|part| part.len()).sum();
        let limits = self.limits;
        let fields = [
            ("resource", bytes, limits.resource),
            ("service.name", resource.service_bytes, limits.name),
            (NAMESPACE, resource.namespace(None).len(), limits.name),
        ];
        self.scanned.reject_oversized(first_span, fields);
        if self.scanned.spans.len() == first_span {
            // No scope refers to this resource: those without a span are left out.
            self.scanned.scopes.truncate(first_scope);
            self.scanned.resource_parts.truncate(first_part);
            return Ok(());
        }
        resource.parts = first_part..self.scanned.resource_parts.len();
        let parts = self.scanned.resource_parts.get(resource.parts.clone());
        resource.hash = resource_hash(parts.unwrap_or_default());
        resource.bytes = bytes;
        self.scanned.resources.push(resource, self.reservation)?;
        Ok(())
    }

    fn scope_spans(&mut self, mut reader: Reader<'a>, resource: usize) -> Result<(), Stop> {
        const SCOPE: u32 = key(1, BYTES);
        const SPAN: u32 = key(2, BYTES);
        const SCHEMA_URL: u32 = key(3, BYTES);
        let first_part = self.scanned.scope_parts.len();
        let first_span = self.scanned.spans.len();
        let (mut from, mut to) = (reader.position(), reader.position());
        while let Some(key) = reader.key()? {
            match key {
                SPAN => {
                    let part = reader.between(from, to);
                    keep_part(&mut self.scanned.scope_parts, part, self.reservation)?;
                    // An invalid span does not fail the request: OTLP reports it as partial
                    // success.
                    let (message, rejected) = (reader.message()?, &mut self.scanned.rejected);
                    let span = match self.limits.is_searched {
                        true => span::span::<Hashed>(message, rejected)?,
                        false => span::span::<Checked>(message, rejected)?,
                    };
                    if let Some(span) = span {
                        self.scanned.spans.push(span, self.reservation)?;
                    }
                    from = reader.position();
                }
                SCOPE => attribute::check(&otlp_json::SCOPE, reader.message()?)?,
                SCHEMA_URL => drop(reader.text()?),
                other => reader.skip_unknown(other, 3)?,
            }
            to = reader.position();
        }
        let part = reader.between(from, to);
        keep_part(&mut self.scanned.scope_parts, part, self.reservation)?;
        let (mut bytes, mut name_bytes, mut version_bytes) = (0, 0, 0);
        for part in self.scanned.scope_parts.iter().skip(first_part) {
            let (name, version) = scope_name(part);
            bytes += part.len();
            name_bytes = name.len().max(name_bytes);
            version_bytes = version.len().max(version_bytes);
        }
        let limits = self.limits;
        let fields = [
            ("scope", bytes, limits.scope),
            ("scope.name", name_bytes, limits.name),
            ("scope.version", version_bytes, limits.name),
        ];
        self.scanned.reject_oversized(first_span, fields);
        if self.scanned.spans.len() == first_span {
            self.scanned.scope_parts.truncate(first_part);
            return Ok(());
        }
        let scope = ScannedScope {
            resource,
            parts: first_part..self.scanned.scope_parts.len(),
            spans: first_span..self.scanned.spans.len(),
        };
        self.scanned.scopes.push(scope, self.reservation)?;
        Ok(())
    }
}

/// Adds the bytes between two spans or scopes as a part.
fn keep_part<'a>(
    parts: &mut CountedVec<&'a [u8]>,
    part: &'a [u8],
    reservation: &mut Reservation,
) -> Result<(), OutOfMemory> {
    // An entry takes 16 bytes; a request of empty messages would get one for every two bytes.
    match part.is_empty() {
        true => Ok(()),
        false => parts.push(part, reservation),
    }
}

#[cfg(test)]
mod tests;
