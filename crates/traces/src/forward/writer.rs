//! Writes spans as an encoded `ExportTraceServiceRequest`.

use prost::encoding::encode_varint;

use crate::{
    log::{CHILDREN_KEY, is_concatenation},
    span::{NewSource, NewSpan},
};

/// The key of `ExportTraceServiceRequest.resource_spans`.
const RESOURCE_SPANS_FIELD: u8 = 1 << 3 | 2;

/// A request to which spans are added. Neighbours with the same source share it.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    /// The request without the spans of the last source.
    request: Vec<u8>,
    /// The last source, and its spans as fields of `ScopeSpans`.
    resource: Vec<u8>,
    scope: Vec<u8>,
    fields: Vec<u8>,
}

impl RequestWriter {
    /// The bytes so far, without those of the last source.
    pub(super) fn bytes(&self) -> usize {
        self.request.len() + self.fields.len()
    }

    /// Adds a span with these additional fields.
    pub(super) fn add(&mut self, span: &NewSpan<'_>, source: &NewSource<'_>, added: &[u8]) {
        if !is_concatenation(&self.resource, source.resource)
            || !is_concatenation(&self.scope, source.scope)
        {
            self.end_source();
            source
                .resource
                .iter()
                .for_each(|it| self.resource.extend_from_slice(it));
            source
                .scope
                .iter()
                .for_each(|it| self.scope.extend_from_slice(it));
        }
        self.fields.push(CHILDREN_KEY);
        let len = span.body.len() + added.len();
        encode_varint(len as u64, &mut self.fields);
        self.fields.extend_from_slice(span.body);
        self.fields.extend_from_slice(added);
    }

    /// Returns the request, after which another one begins.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.end_source();
        std::mem::take(&mut self.request)
    }

    fn end_source(&mut self) {
        if !self.fields.is_empty() {
            let mut header = Vec::with_capacity(8);
            header.push(CHILDREN_KEY);
            let len = self.scope.len() + self.fields.len();
            encode_varint(len as u64, &mut header);
            let scope_spans = header.len() + self.scope.len() + self.fields.len();
            self.request.push(RESOURCE_SPANS_FIELD);
            let len = self.resource.len() + scope_spans;
            encode_varint(len as u64, &mut self.request);
            for part in [&self.resource, &header, &self.scope, &self.fields] {
                self.request.extend_from_slice(part);
            }
        }
        self.resource.clear();
        self.scope.clear();
        self.fields.clear();
    }
}
