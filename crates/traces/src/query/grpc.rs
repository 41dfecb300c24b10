//! Jaeger's v3 query API over gRPC.

use bytes::Bytes;
use prost::Message;
use spoor_proto::jaeger::api_v3::{
    DependenciesResponse, FindTraceSummariesRequest, FindTraceSummariesResponse, FindTracesRequest,
    GetDependenciesRequest, GetOperationsRequest, GetOperationsResponse, GetServicesRequest,
    GetServicesResponse, GetTraceRequest, TracesData, query_service_server::QueryService,
};
use tonic::{Request, Response, Status};

use super::{
    Queries, TraceQueryError,
    enrich::decoded,
    grpc_queries::{dependency, search, unix_nanos},
    limits::Reader,
    stream::{Built, Messages, split, stream, stream_built},
    summary,
};
use crate::{StoredTrace, TraceId};

#[tonic::async_trait]
impl QueryService for Queries {
    type GetTraceStream = Messages<TracesData>;
    type FindTracesStream = Messages<TracesData>;
    type FindTraceSummariesStream = Messages<FindTraceSummariesResponse>;

    async fn get_trace(
        &self,
        request: Request<GetTraceRequest>,
    ) -> Result<Response<Messages<TracesData>>, Status> {
        let request = request.into_inner();
        let id: TraceId = request
            .trace_id
            .parse()
            .map_err(|error| Status::invalid_argument(format!("trace_id: {error}")))?;
        self.check_stored(id).await?;
        stream(self, vec![id], request.raw_traces, messages).await
    }

    async fn find_traces(
        &self,
        request: Request<FindTracesRequest>,
    ) -> Result<Response<Messages<TracesData>>, Status> {
        let (found, raw) = self.find(request.into_inner().query).await?;
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
        let operations = found.into_iter().map(Into::into).collect();
        Ok(Response::new(GetOperationsResponse { operations }))
    }

    async fn get_dependencies(
        &self,
        request: Request<GetDependenciesRequest>,
    ) -> Result<Response<DependenciesResponse>, Status> {
        let GetDependenciesRequest {
            start_time,
            end_time,
        } = request.into_inner();
        let (Some(start), Some(end)) = (unix_nanos(start_time), unix_nanos(end_time)) else {
            let message = "start_time and end_time are required";
            return Err(Status::invalid_argument(message));
        };
        if start >= end {
            let message = "end_time must be after start_time";
            return Err(Status::invalid_argument(message));
        }
        let calls = self.calls(start, end).await?;
        let dependencies = calls.into_iter().map(dependency).collect();
        Ok(Response::new(DependenciesResponse { dependencies }))
    }

    async fn find_trace_summaries(
        &self,
        request: Request<FindTraceSummariesRequest>,
    ) -> Result<Response<Messages<FindTraceSummariesResponse>>, Status> {
        let search = search(request.into_inner().query)?;
        let find = move |reader: Reader| {
            let found = summary::summaries(&reader, &search)?;
            let sized = found.into_iter().map(|it| (it.encoded_len(), it));
            let message = |summaries| FindTraceSummariesResponse { summaries };
            Ok(split(sized).into_iter().map(message).collect())
        };
        stream_built(&self.searches(), find).await
    }
}

/// Each message holds spans of one trace; a large trace takes several.
fn messages(trace: &StoredTrace, raw: bool) -> Result<Built<TracesData>, TraceQueryError> {
    let batches: Vec<Bytes> = match raw {
        true => trace.resource_spans.clone(),
        false => decoded(trace, raw)
            .into_iter()
            .map(|batch| batch.encode_to_vec().into())
            .collect(),
    };
    let memory: usize = batches.iter().map(Bytes::len).sum();
    let sized = batches.into_iter().map(|batch| (batch.len(), batch));
    let data = |resource_spans| TracesData { resource_spans };
    Ok((memory, split(sized).into_iter().map(data).collect()))
}
