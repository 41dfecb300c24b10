//! Writes some spans of a request as a new encoded `ExportTraceServiceRequest`.

use std::ptr;

use prost::encoding::{encode_varint, encoded_len_varint};

use super::batches::RESOURCE_SPANS_FIELD;
use crate::{
    log::CHILDREN_KEY,
    span::{NewSource, NewSpan},
};

/// Some spans of a request, in their order, from which a new request is written. Consecutive spans
/// of a resource or scope share it, so the new request has at most as many as the original.
#[derive(Debug, Default)]
pub(super) struct RequestWriter<'a> {
    spans: Vec<Span<'a>>,
}

/// A span with its resource and scope, as pieces of the request that it is from.
///
/// The resources and scopes of consecutive spans are compared by address: a resource may be longer
/// than thousands of spans.
#[derive(Debug)]
struct Span<'a> {
    resource: &'a [&'a [u8]],
    scope: &'a [&'a [u8]],
    body: &'a [u8],
}

impl<'a> RequestWriter<'a> {
    /// Adds a span.
    pub(super) fn add(&mut self, span: &NewSpan<'a>, source: &NewSource<'a>) {
        self.spans.push(Span {
            resource: source.resource,
            scope: source.scope,
            body: span.body,
        });
    }

    /// The number of spans.
    pub(super) fn count(&self) -> u64 {
        self.spans.len() as u64
    }

    /// The encoded request.
    pub(super) fn request(&self) -> Vec<u8> {
        let resources = by_resource(&self.spans);
        let len = resources.map(|spans| field_len(resource_spans_len(spans)));
        let mut request = Vec::with_capacity(len.sum());
        for spans in by_resource(&self.spans) {
            write_header(
                &mut request,
                RESOURCE_SPANS_FIELD,
                resource_spans_len(spans),
            );
            write_pieces(&mut request, resource(spans));
            for spans in by_scope(spans) {
                write_header(&mut request, CHILDREN_KEY, scope_spans_len(spans));
                write_pieces(&mut request, scope(spans));
                for span in spans {
                    write_header(&mut request, CHILDREN_KEY, span.body.len());
                    request.extend_from_slice(span.body);
                }
            }
        }
        request
    }
}

fn by_resource<'s, 'a>(spans: &'s [Span<'a>]) -> impl Iterator<Item = &'s [Span<'a>]> {
    spans.chunk_by(|one, next| ptr::eq(one.resource, next.resource))
}

/// The spans of one resource by scope.
fn by_scope<'s, 'a>(spans: &'s [Span<'a>]) -> impl Iterator<Item = &'s [Span<'a>]> {
    spans.chunk_by(|one, next| ptr::eq(one.scope, next.scope))
}

/// The resource of spans that share it.
fn resource<'a>(spans: &[Span<'a>]) -> &'a [&'a [u8]] {
    let first = spans.first();
    first.map(|span| span.resource).unwrap_or_default()
}

/// The scope of spans that share it.
fn scope<'a>(spans: &[Span<'a>]) -> &'a [&'a [u8]] {
    let first = spans.first();
    first.map(|span| span.scope).unwrap_or_default()
}

fn resource_spans_len(spans: &[Span<'_>]) -> usize {
    let scopes = by_scope(spans).map(|spans| field_len(scope_spans_len(spans)));
    pieces_len(resource(spans)) + scopes.sum::<usize>()
}

fn scope_spans_len(spans: &[Span<'_>]) -> usize {
    let fields = spans.iter().map(|span| field_len(span.body.len()));
    pieces_len(scope(spans)) + fields.sum::<usize>()
}

fn pieces_len(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

/// The length of a field with content of this length. Its key takes one byte.
fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

fn write_header(to: &mut Vec<u8>, key: u8, content: usize) {
    to.push(key);
    encode_varint(content as u64, to);
}

fn write_pieces(to: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        to.extend_from_slice(piece);
    }
}
