//! The queries that both gRPC APIs share, before each converts the results to its messages.

use std::time::Duration;

use prost_types::Timestamp;
use spoor_proto::jaeger::{
    api_v2::DependencyLink,
    api_v3::{self, TraceQueryParameters},
};
use tonic::Status;

use super::{
    MAX_TRACES, Queries, TraceQueryError,
    parameters::{self, DEFAULT_DEPTH, FILTER_REFUSED},
};
use crate::{Search, StoredOperation, TraceId, dependencies::dependencies, kind, service};

impl Queries {
    pub(super) async fn services(&self) -> Result<Vec<String>, TraceQueryError> {
        self.run(|reader| service::names(&reader)).await?
    }

    /// A service's operations of one kind; of all kinds if `kind` is empty.
    pub(super) async fn operations(
        &self,
        service: String,
        kind: String,
    ) -> Result<Vec<StoredOperation>, TraceQueryError> {
        self.run(move |reader| {
            let kind = (!kind.is_empty()).then_some(kind.as_str());
            service::operations(&reader, &service, kind)
        })
        .await?
    }

    /// Calls between services in a window, in nanoseconds.
    pub(super) async fn calls(
        &self,
        start: u64,
        end: u64,
    ) -> Result<Vec<DependencyLink>, TraceQueryError> {
        let count = move |reader| dependencies(&reader, start, end);
        Ok(self.aggregates().run(count).await??.calls)
    }

    /// The traces that match, the newest first, and whether to return them as they are stored.
    pub(super) async fn find(
        &self,
        query: Option<TraceQueryParameters>,
    ) -> Result<(Vec<TraceId>, bool), Status> {
        let raw = query.as_ref().is_some_and(|query| query.raw_traces);
        let search = search(query)?;
        let searches = self.searches();
        let found = searches.run(move |reader| reader.find(&search)).await??;
        Ok((found, raw))
    }

    /// Checks that a trace is stored and not too large.
    pub(super) async fn check_stored(&self, id: TraceId) -> Result<(), Status> {
        // Checked before the stream begins, since a stream reports errors only at its end.
        let found = self.run(move |reader| reader.trace(id)).await??;
        match found {
            Some(_) => Ok(()),
            None => Err(Status::not_found("trace not found")),
        }
    }
}

impl From<StoredOperation> for api_v3::Operation {
    fn from(operation: StoredOperation) -> Self {
        Self {
            span_kind: kind::name(operation.kind).to_owned(),
            name: operation.name,
        }
    }
}

/// Converts the calls between two services to version 3's message.
pub(super) fn dependency(call: DependencyLink) -> api_v3::Dependency {
    api_v3::Dependency {
        parent: call.parent,
        child: call.child,
        call_count: call.call_count,
    }
}

/// Converts the parameters of a query to a search.
pub(super) fn search(query: Option<TraceQueryParameters>) -> Result<Search, Status> {
    let invalid = |message: &str| Status::invalid_argument(message);
    let query = query.ok_or_else(|| invalid("missing query"))?;
    if query.filter.is_some() {
        return Err(invalid(FILTER_REFUSED));
    }
    let start_min = unix_nanos(query.start_time_min);
    let start_max = unix_nanos(query.start_time_max);
    if start_min.is_none() || start_max.is_none() {
        return Err(invalid("start time min and max are required parameters"));
    }
    let depth = usize::try_from(query.search_depth).unwrap_or(0);
    if depth > MAX_TRACES {
        let message = format!("search_depth must be at most {MAX_TRACES}");
        return Err(invalid(&message));
    }
    let non_empty = |text: String| (!text.is_empty()).then_some(text);
    let duration = |duration: prost_types::Duration| {
        nanos(duration.seconds, duration.nanos).map(Duration::from_nanos)
    };
    Ok(Search {
        service: non_empty(query.service_name).map(|name| service::stored_name(&name).to_owned()),
        operation: non_empty(query.operation_name),
        tags: parameters::tags(query.attributes).map_err(Status::invalid_argument)?,
        start_min,
        start_max,
        duration_min: query.duration_min.and_then(duration),
        duration_max: query.duration_max.and_then(duration),
        // 0 is the value of an unset field.
        limit: if depth == 0 { DEFAULT_DEPTH } else { depth },
    })
}

/// A time in nanoseconds since the Unix epoch; `None` for zero, the value of an unset field, and
/// for earlier times.
pub(super) fn unix_nanos(time: Option<Timestamp>) -> Option<u64> {
    time.and_then(|time| nanos(time.seconds, time.nanos))
}

fn nanos(seconds: i64, nanos: i32) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u64::try_from(nanos).ok()?;
    let total = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
    // Kiali sends zero for no bound.
    (total > 0).then_some(total)
}
