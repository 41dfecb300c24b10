//! Encodes spans as an `ExportTraceServiceRequest`.

use bytes::Bytes;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::trace::SpanData;
use prost::Message;

use super::ExportResponse;

/// Encodes spans of one resource.
pub(super) fn encode(spans: Vec<SpanData>, resource: &ResourceAttributesWithSchema) -> Bytes {
    let resource_spans = group_spans_by_resource_and_scope(spans, resource);
    ExportTraceServiceRequest { resource_spans }
        .encode_to_vec()
        .into()
}

/// Reads the receiver's response. One that cannot be decoded also means acceptance.
pub(super) fn accepted(body: &[u8]) -> ExportResponse {
    let partial = ExportTraceServiceResponse::decode(body)
        .ok()
        .and_then(|response| response.partial_success)
        .unwrap_or_default();
    ExportResponse {
        // The field is signed, and a negative number rejects nothing.
        rejected: u64::try_from(partial.rejected_spans).unwrap_or_default(),
        message: partial.error_message,
    }
}
