//! The traces of the lab's store, for the console.

use std::time::Duration;

use spoor_console::{BackendError, FoundTraces, ListedTrace, TraceSpans};
use spoor_traces::{
    Search, StoredTrace, TraceId,
    figures::ServiceFigures,
    query::{Queries, TraceQueryError},
};

/// The traces of the lab's store, within the bounds that its query API has too.
#[derive(Clone, Debug)]
pub(super) struct LabTraces {
    queries: Queries,
}

impl LabTraces {
    pub(super) fn new(queries: Queries) -> Self {
        Self { queries }
    }

    /// The names of the services that have spans, sorted.
    pub(super) async fn services(&self) -> Result<Vec<String>, BackendError> {
        self.queries.some_services().await.map_err(backend_error)
    }

    /// The names of a service's operations, sorted.
    pub(super) async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError> {
        let operations = self.queries.some_operations(service.to_owned());
        operations.await.map_err(backend_error)
    }

    /// The traces that match, the newest first.
    pub(super) async fn find(&self, search: Search) -> Result<FoundTraces, BackendError> {
        let list = |trace: &StoredTrace| {
            ListedTrace::new(trace.id, trace.decode(), Some(trace.kept.clone()))
        };
        let found = self.queries.find_each(search, list).await;
        let found = found.map_err(backend_error)?;
        Ok(FoundTraces {
            traces: found.traces,
            too_large: found.too_large,
            stored: Some(found.stored),
        })
    }

    /// All spans of a trace.
    pub(super) async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        let found = self.queries.decoded_trace(id).await;
        let found = found.map_err(backend_error)?;
        Ok(found.map(|(resource_spans, kept)| TraceSpans {
            id,
            resource_spans,
            kept: Some(kept),
        }))
    }

    /// The figures of the services over the time before now.
    pub(super) async fn figures(&self, window: Duration) -> Result<ServiceFigures, BackendError> {
        self.queries.figures(window).await.map_err(backend_error)
    }
}

fn backend_error(error: TraceQueryError) -> BackendError {
    let message = error.to_string();
    match error {
        TraceQueryError::Busy | TraceQueryError::TooSlow | TraceQueryError::Failed(_) => {
            BackendError::Reach(message)
        }
        TraceQueryError::ResponseTooLarge | TraceQueryError::TraceTooLarge(_) => {
            BackendError::TooLarge(message)
        }
    }
}
