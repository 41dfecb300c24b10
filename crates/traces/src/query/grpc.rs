//! Jaeger's third query API over gRPC.

use std::pin::Pin;

use bytes::Bytes;
use prost::Message;
use spoor_proto::jaeger::api_v3::{
    DependenciesResponse, Dependency, FindTraceSummariesRequest, FindTraceSummariesResponse,
    FindTracesRequest, GetDependenciesRequest, GetOperationsRequest, GetOperationsResponse,
    GetServicesRequest, GetServicesResponse, GetTraceRequest, Operation, TracesData,
    query_service_server::QueryService,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{
    Queries, Refusal,
    calls::{search, unix_nanos},
    enrich::decoded,
    stream::stream,
    summary,
};
use crate::{StoredTrace, TraceId, kind};

/// A message holds at most about this much, well under what clients accept by default (4 MiB).
pub(super) const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The service behind `jaeger.api_v3.QueryService`.
#[derive(Clone, Debug)]
pub struct GrpcQueries {
    queries: Queries,
}

/// Summaries in one message.
const SUMMARIES_AT_ONCE: usize = 500;

type Summaries = Pin<Box<dyn Stream<Item = Result<FindTraceSummariesResponse, Status>> + Send>>;
type Traces = Pin<Box<dyn Stream<Item = Result<TracesData, Status>> + Send>>;

impl GrpcQueries {
    pub(super) fn new(queries: Queries) -> Self {
        Self { queries }
    }
}

#[tonic::async_trait]
impl QueryService for GrpcQueries {
    type GetTraceStream = Traces;
    type FindTracesStream = Traces;
    type FindTraceSummariesStream = Summaries;

    async fn get_trace(
        &self,
        request: Request<GetTraceRequest>,
    ) -> Result<Response<Traces>, Status> {
        let request = request.into_inner();
        let id: TraceId = request
            .trace_id
            .parse()
            .map_err(|error| Status::invalid_argument(format!("trace_id: {error}")))?;
        self.queries.check_stored(id).await?;
        stream(&self.queries, vec![id], request.raw_traces, messages)
    }

    async fn find_traces(
        &self,
        request: Request<FindTracesRequest>,
    ) -> Result<Response<Traces>, Status> {
        let (found, raw) = self.queries.find(request.into_inner().query).await?;
        stream(&self.queries, found, raw, messages)
    }

    async fn get_services(
        &self,
        _: Request<GetServicesRequest>,
    ) -> Result<Response<GetServicesResponse>, Status> {
        let services = self.queries.services().await?;
        Ok(Response::new(GetServicesResponse { services }))
    }

    async fn get_operations(
        &self,
        request: Request<GetOperationsRequest>,
    ) -> Result<Response<GetOperationsResponse>, Status> {
        let GetOperationsRequest { service, span_kind } = request.into_inner();
        let found = self.queries.operations(service, span_kind).await?;
        let operations = found.into_iter().map(|found| Operation {
            span_kind: kind::word(found.kind).to_owned(),
            name: found.name,
        });
        Ok(Response::new(GetOperationsResponse {
            operations: operations.collect(),
        }))
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
        let calls = self.queries.calls(start, end).await?;
        let dependencies = calls.into_iter().map(|call| Dependency {
            parent: call.parent,
            child: call.child,
            call_count: call.call_count,
        });
        Ok(Response::new(DependenciesResponse {
            dependencies: dependencies.collect(),
        }))
    }

    async fn find_trace_summaries(
        &self,
        request: Request<FindTraceSummariesRequest>,
    ) -> Result<Response<Summaries>, Status> {
        let search = search(request.into_inner().query)?;
        let find = move |reader| summary::summaries(&reader, &search);
        let found = self.queries.run(find).await??;
        let messages: Vec<_> = found
            .chunks(SUMMARIES_AT_ONCE)
            .map(|some| FindTraceSummariesResponse {
                summaries: some.to_vec(),
            })
            .map(Ok)
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }
}

/// Each message holds spans of one trace; a large trace takes several.
fn messages(trace: &StoredTrace, raw: bool) -> Result<Vec<TracesData>, Refusal> {
    let batches = match raw {
        true => trace.resource_spans().to_vec(),
        false => {
            let batches = decoded(trace, raw).into_iter();
            batches.map(|batch| batch.encode_to_vec().into()).collect()
        }
    };
    let mut messages = Vec::new();
    let mut message: Vec<Bytes> = Vec::new();
    let mut size = 0;
    for batch in batches {
        if size + batch.len() > MAX_MESSAGE_BYTES && !message.is_empty() {
            messages.push(std::mem::take(&mut message));
            size = 0;
        }
        size += batch.len();
        message.push(batch);
    }
    messages.push(message);
    let data = |resource_spans| TracesData { resource_spans };
    Ok(messages.into_iter().map(data).collect())
}
