//! Jaeger's third query API over gRPC: spans leave as the bytes that they came in.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use spoor_proto::jaeger::api_v3::{
    FindTracesRequest, GetOperationsRequest, GetOperationsResponse, GetServicesRequest,
    GetServicesResponse, GetTraceRequest, Operation, TraceQueryParameters, TracesData,
    query_service_server::QueryService,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{MAX_TRACES, v3::DEFAULT_DEPTH};
use crate::{Search, Store, StoredTrace, TraceId, kind, service};

/// A message holds at most about this much, well under what clients accept by default (4 MiB).
const CHUNK_BYTES: usize = 1 << 20;

/// The service behind `jaeger.api_v3.QueryService`.
#[derive(Clone, Debug)]
pub struct Queries {
    store: Store,
}

type Traces = Pin<Box<dyn Stream<Item = Result<TracesData, Status>> + Send>>;

impl Queries {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl QueryService for Queries {
    type GetTraceStream = Traces;
    type FindTracesStream = Traces;

    async fn get_trace(
        &self,
        request: Request<GetTraceRequest>,
    ) -> Result<Response<Traces>, Status> {
        let id: TraceId = request
            .get_ref()
            .trace_id
            .parse()
            .map_err(|error| Status::invalid_argument(format!("trace_id: {error}")))?;
        let not_found = || Status::not_found("trace not found");
        let trace = self.store.trace(id).ok_or_else(not_found)?;
        Ok(Response::new(stream(vec![trace])))
    }

    async fn find_traces(
        &self,
        request: Request<FindTracesRequest>,
    ) -> Result<Response<Traces>, Status> {
        let missing = || Status::invalid_argument("missing query");
        let search = search(request.into_inner().query.ok_or_else(missing)?)?;
        let store = self.store.clone();
        let found = blocking(move || store.search(&search)).await?;
        Ok(Response::new(stream(found)))
    }

    async fn get_services(
        &self,
        _: Request<GetServicesRequest>,
    ) -> Result<Response<GetServicesResponse>, Status> {
        let store = self.store.clone();
        let services = blocking(move || service::names(&store)).await?;
        Ok(Response::new(GetServicesResponse { services }))
    }

    async fn get_operations(
        &self,
        request: Request<GetOperationsRequest>,
    ) -> Result<Response<GetOperationsResponse>, Status> {
        let store = self.store.clone();
        let GetOperationsRequest { service, span_kind } = request.into_inner();
        let find = move || {
            let word = (!span_kind.is_empty()).then_some(span_kind.as_str());
            kind::operations(&store, &service, word)
        };
        let operations = blocking(find).await?.into_iter().map(|found| Operation {
            span_kind: kind::word(found.kind).to_owned(),
            name: found.name,
        });
        Ok(Response::new(GetOperationsResponse {
            operations: operations.collect(),
        }))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let failed = |error| Status::internal(format!("answering: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn search(query: TraceQueryParameters) -> Result<Search, Status> {
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
fn nanos(seconds: i64, nanos: i32) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u64::try_from(nanos).ok()?;
    let total = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    (total > 0).then_some(total)
}

/// Each message holds spans of one trace; a large trace takes several.
fn stream(traces: Vec<StoredTrace>) -> Traces {
    let messages = traces.into_iter().flat_map(|trace| chunks(&trace)).map(Ok);
    Box::pin(tokio_stream::iter(messages))
}

fn chunks(trace: &StoredTrace) -> Vec<TracesData> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<Bytes> = Vec::new();
    let mut size = 0;
    for batch in trace.resource_spans() {
        if size + batch.len() > CHUNK_BYTES && !chunk.is_empty() {
            chunks.push(std::mem::take(&mut chunk));
            size = 0;
        }
        size += batch.len();
        chunk.push(batch.clone());
    }
    chunks.push(chunk);
    let message = |resource_spans| TracesData { resource_spans };
    chunks.into_iter().map(message).collect()
}
