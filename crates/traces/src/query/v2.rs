//! Jaeger's v2 query API over gRPC, which Kiali uses: spans in Jaeger's own model.

use std::collections::BTreeSet;

use prost::Message;
use spoor_proto::jaeger::{
    api_v2::{
        ArchiveTraceRequest, ArchiveTraceResponse, FindTracesRequest, GetDependenciesRequest,
        GetDependenciesResponse, GetOperationsRequest, GetOperationsResponse, GetServicesRequest,
        GetServicesResponse, GetTraceRequest, KeyValue, Operation, SpansResponseChunk,
        query_service_server::QueryService,
    },
    api_v3::TraceQueryParameters,
};
use tonic::{Request, Response, Status};

use super::{
    MAX_RESPONSE_BYTES, Queries, TraceQueryError,
    enrich::decoded,
    grpc_queries::unix_nanos,
    model,
    stream::{Built, Messages, split, stream},
};
use crate::{
    StoredTrace, TraceId, kind,
    tree::{members, value},
};

/// The most bytes of a trace's messages once decoded. Lower than the bound on the trace itself,
/// since each span has copies of all tags of its process, with separate allocations for their
/// texts.
const MAX_TRACE_MESSAGES_BYTES: usize = 32 << 20;

#[tonic::async_trait]
impl QueryService for Queries {
    type GetTraceStream = Messages<SpansResponseChunk>;
    type FindTracesStream = Messages<SpansResponseChunk>;

    async fn get_trace(
        &self,
        request: Request<GetTraceRequest>,
    ) -> Result<Response<Messages<SpansResponseChunk>>, Status> {
        let request = request.into_inner();
        let bytes = <[u8; 16]>::try_from(request.trace_id);
        let bytes = bytes.ok().filter(|bytes| !value::is_zero(bytes));
        let invalid = || Status::invalid_argument("trace_id must be 16 bytes and not all zero");
        let id = TraceId::from_bytes(bytes.ok_or_else(invalid)?);
        self.check_stored(id).await?;
        stream(self, vec![id], request.raw_traces, messages).await
    }

    async fn archive_trace(
        &self,
        _: Request<ArchiveTraceRequest>,
    ) -> Result<Response<ArchiveTraceResponse>, Status> {
        Err(Status::unimplemented("the archive is not supported"))
    }

    async fn find_traces(
        &self,
        request: Request<FindTracesRequest>,
    ) -> Result<Response<Messages<SpansResponseChunk>>, Status> {
        let query = request
            .into_inner()
            .query
            .map(|query| TraceQueryParameters {
                service_name: query.service_name,
                operation_name: query.operation_name,
                attributes: query.tags,
                start_time_min: query.start_time_min,
                start_time_max: query.start_time_max,
                duration_min: query.duration_min,
                duration_max: query.duration_max,
                search_depth: query.search_depth,
                raw_traces: query.raw_traces,
                filter: None,
            });
        let (found, raw) = self.find(query).await?;
        stream(self, found, raw, messages).await
    }

    async fn get_services(
        &self,
        _: Request<GetServicesRequest>,
    ) -> Result<Response<GetServicesResponse>, Status> {
        let services = self.services().await?;
        Ok(Response::new(GetServicesResponse { services }))
    }

    async fn get_operations(
        &self,
        request: Request<GetOperationsRequest>,
    ) -> Result<Response<GetOperationsResponse>, Status> {
        let GetOperationsRequest { service, span_kind } = request.into_inner();
        let found = self.operations(service, span_kind).await?;
        let names: BTreeSet<String> = found.iter().map(|found| found.name.clone()).collect();
        let operations = found.into_iter().map(|found| Operation {
            span_kind: kind::name(found.kind).to_owned(),
            name: found.name,
        });
        Ok(Response::new(GetOperationsResponse {
            operation_names: names.into_iter().collect(),
            operations: operations.collect(),
        }))
    }

    async fn get_dependencies(
        &self,
        request: Request<GetDependenciesRequest>,
    ) -> Result<Response<GetDependenciesResponse>, Status> {
        let request = request.into_inner();
        let start = unix_nanos(request.start_time).unwrap_or(0);
        let end = unix_nanos(request.end_time).unwrap_or(u64::MAX);
        let dependencies = self.calls(start, end).await?;
        Ok(Response::new(GetDependenciesResponse { dependencies }))
    }
}

/// Converts a trace to messages. Each span repeats its process, so a few spans may become many
/// bytes, and even more once decoded: an encoded empty tag has 2 bytes.
fn messages(trace: &StoredTrace, raw: bool) -> Result<Built<SpansResponseChunk>, TraceQueryError> {
    let mut left = MAX_RESPONSE_BYTES;
    let mut decoded_left = MAX_TRACE_MESSAGES_BYTES;
    let mut spans = Vec::new();
    for member in members(decoded(trace, raw)) {
        let span = model::span(&member, raw);
        let bytes = span.encoded_len();
        let too_large = TraceQueryError::ResponseTooLarge;
        left = left.checked_sub(bytes).ok_or(too_large.clone())?;
        // All attributes of the resource, since those that are not tags of the process are also
        // read for each span.
        let logged: usize = span.logs.iter().map(|log| log.fields.len()).sum();
        let tags = member.resource.attributes.len() + span.tags.len() + logged;
        let decoded = bytes + tags * size_of::<KeyValue>();
        decoded_left = decoded_left.checked_sub(decoded).ok_or(too_large)?;
        spans.push((bytes, span));
    }
    let chunk = |spans| SpansResponseChunk { spans };
    let memory = MAX_TRACE_MESSAGES_BYTES - decoded_left;
    Ok((memory, split(spans).into_iter().map(chunk).collect()))
}
