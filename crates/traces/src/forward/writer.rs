//! Writes spans as an encoded `ExportTraceServiceRequest`.

use prost::encoding::encode_varint;

use super::batches::RESOURCE_SPANS_FIELD;
use crate::{
    log::{CHILDREN_KEY, is_concatenation},
    span::{NewSource, NewSpan},
};

/// A request to which spans of another one are added in their order. Neighbours share their resource
/// and scope, so that it has at most as many of them as the other request.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    /// The request without the last resource.
    request: Vec<u8>,
    /// The last resource, and its scopes without the last one.
    resource: Vec<u8>,
    scopes: Vec<u8>,
    /// The last scope, and its spans.
    scope: Vec<u8>,
    spans: Vec<u8>,
}

impl RequestWriter {
    /// Adds a span.
    pub(super) fn add(&mut self, span: &NewSpan<'_>, source: &NewSource<'_>) {
        if !is_concatenation(&self.resource, source.resource) {
            self.end_resource();
            for piece in source.resource {
                self.resource.extend_from_slice(piece);
            }
        }
        if !is_concatenation(&self.scope, source.scope) {
            self.end_scope();
            for piece in source.scope {
                self.scope.extend_from_slice(piece);
            }
        }
        write_field(&mut self.spans, CHILDREN_KEY, &[span.body]);
    }

    /// Ends the request.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end_resource();
        self.request
    }

    fn end_resource(&mut self) {
        self.end_scope();
        if !self.scopes.is_empty() {
            let content = [self.resource.as_slice(), &self.scopes];
            write_field(&mut self.request, RESOURCE_SPANS_FIELD, &content);
        }
        self.resource.clear();
        self.scopes.clear();
    }

    fn end_scope(&mut self) {
        if !self.spans.is_empty() {
            let content = [self.scope.as_slice(), &self.spans];
            write_field(&mut self.scopes, CHILDREN_KEY, &content);
        }
        self.scope.clear();
        self.spans.clear();
    }
}

/// Writes a field of which the content is in pieces.
fn write_field(to: &mut Vec<u8>, key: u8, content: &[&[u8]]) {
    let len: usize = content.iter().map(|piece| piece.len()).sum();
    to.push(key);
    encode_varint(len as u64, to);
    for piece in content {
        to.extend_from_slice(piece);
    }
}
