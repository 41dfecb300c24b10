//! Jaeger's third query API over gRPC.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use prost::Message;
use spoor_proto::jaeger::api_v3::{
    DependenciesResponse, Dependency, FindTraceSummariesRequest, FindTraceSummariesResponse,
    FindTracesRequest, GetDependenciesRequest, GetOperationsRequest, GetOperationsResponse,
    GetServicesRequest, GetServicesResponse, GetTraceRequest, Operation, TraceQueryParameters,
    TracesData, query_service_server::QueryService,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{
    MAX_TRACES, Queries, Refusal, enrich::decoded, limits::Reader, stream::stream, summary,
    v3::DEFAULT_DEPTH,
};
use crate::{Search, StoredTrace, TraceId, dependencies, kind, service};

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
        let found = self.queries.run(move |reader| reader.trace(id)).await??;
        found.ok_or_else(|| Status::not_found("trace not found"))?;
        stream(&self.queries, vec![id], request.raw_traces, messages)
    }

    async fn find_traces(
        &self,
        request: Request<FindTracesRequest>,
    ) -> Result<Response<Traces>, Status> {
        let missing = || Status::invalid_argument("missing query");
        let query = request.into_inner().query.ok_or_else(missing)?;
        let raw = query.raw_traces;
        let search = search(query)?;
        let found = self.queries.run(move |reader| reader.find(&search)).await?;
        stream(&self.queries, found, raw, messages)
    }

    async fn get_services(
        &self,
        _: Request<GetServicesRequest>,
    ) -> Result<Response<GetServicesResponse>, Status> {
        let names = |reader: Reader| service::names(reader.store());
        let services = self.queries.run(names).await?;
        Ok(Response::new(GetServicesResponse { services }))
    }

    async fn get_operations(
        &self,
        request: Request<GetOperationsRequest>,
    ) -> Result<Response<GetOperationsResponse>, Status> {
        let GetOperationsRequest { service, span_kind } = request.into_inner();
        let find = move |reader: Reader| {
            let word = (!span_kind.is_empty()).then_some(span_kind.as_str());
            kind::operations(reader.store(), &service, word)
        };
        let found = self.queries.run(find).await?.into_iter();
        let operations = found.map(|found| Operation {
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
        let start = start_time.and_then(|at| nanos(at.seconds, at.nanos));
        let end = end_time.and_then(|at| nanos(at.seconds, at.nanos));
        let (Some(start), Some(end)) = (start, end) else {
            let message = "start_time and end_time are required";
            return Err(Status::invalid_argument(message));
        };
        if start >= end {
            let message = "end_time must be after start_time";
            return Err(Status::invalid_argument(message));
        }
        let count = move |reader: Reader| dependencies::dependencies(&reader, start, end).calls;
        let calls = self.queries.run(count).await?.into_iter();
        let dependencies = calls.map(|call| Dependency {
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
        let missing = || Status::invalid_argument("missing query");
        let search = search(request.into_inner().query.ok_or_else(missing)?)?;
        let find = move |reader: Reader| summary::summaries(&reader, &search);
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

pub(super) fn search(query: TraceQueryParameters) -> Result<Search, Status> {
    let start_min = query
        .start_time_min
        .and_then(|at| nanos(at.seconds, at.nanos));
    let start_max = query
        .start_time_max
        .and_then(|at| nanos(at.seconds, at.nanos));
    if start_min.is_none() || start_max.is_none() {
        return Err(Status::invalid_argument(
            "start time min and max are required parameters",
        ));
    }
    let depth = usize::try_from(query.search_depth).unwrap_or(0);
    if depth > MAX_TRACES {
        return Err(Status::invalid_argument(format!(
            "search_depth must be at most {MAX_TRACES}"
        )));
    }
    let some = |text: String| (!text.is_empty()).then_some(text);
    let duration = |seconds, part| nanos(seconds, part).map(Duration::from_nanos);
    Ok(Search {
        service: some(query.service_name).map(|name| service::stored(&name).to_owned()),
        operation: some(query.operation_name),
        tags: query.attributes.into_iter().collect(),
        start_min,
        start_max,
        duration_min: query
            .duration_min
            .and_then(|d| duration(d.seconds, d.nanos)),
        duration_max: query
            .duration_max
            .and_then(|d| duration(d.seconds, d.nanos)),
        // 0 is what a client that says nothing sends.
        limit: if depth == 0 { DEFAULT_DEPTH } else { depth },
    })
}

/// A `google.protobuf` time or duration in nanoseconds; none for the zero value, which means
/// that it was not set.
pub(super) fn nanos(seconds: i64, nanos: i32) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u64::try_from(nanos).ok()?;
    let total = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    (total > 0).then_some(total)
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
