//! The queries of pages, which show traces to people.

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::{Queries, TraceQueryError};
use crate::{KeepReason, Search, StoredTrace, TraceId, service};

/// The traces that match a search, each in the form in which a page lists it.
#[derive(Clone, Debug)]
pub struct Found<T> {
    /// The traces, the newest first.
    pub traces: Vec<T>,
    /// Matching traces that are too large to be read.
    pub too_large: Vec<TraceId>,
    /// The number of traces stored.
    pub stored: usize,
}

impl Queries {
    /// The traces that match, converted one at a time: together they may be as large as the store.
    ///
    /// # Errors
    /// [`TraceQueryError::Busy`] and [`TraceQueryError::TooSlow`].
    pub async fn find_each<T: Send + 'static>(
        &self,
        mut search: Search,
        convert: impl Fn(&StoredTrace) -> T + Send + 'static,
    ) -> Result<Found<T>, TraceQueryError> {
        let named = search.service.take();
        search.service = named.map(|name| service::stored_name(&name).to_owned());
        let searches = self.searches();
        searches
            .run(move |reader| {
                let mut found = Found {
                    traces: Vec::new(),
                    too_large: Vec::new(),
                    stored: reader.store.len(),
                };
                for id in reader.find(&search)? {
                    match reader.trace(id) {
                        Ok(Some(trace)) => found.traces.push(convert(&trace)),
                        Ok(None) => {}
                        Err(TraceQueryError::TraceTooLarge(_)) => found.too_large.push(id),
                        Err(error) => return Err(error),
                    }
                }
                Ok(found)
            })
            .await?
    }

    /// The decoded spans of a trace, as they were reported, and the reason that it was kept.
    ///
    /// # Errors
    /// [`TraceQueryError::Busy`], [`TraceQueryError::TooSlow`] and
    /// [`TraceQueryError::TraceTooLarge`].
    pub async fn decoded_trace(
        &self,
        id: TraceId,
    ) -> Result<Option<(Vec<ResourceSpans>, KeepReason)>, TraceQueryError> {
        self.run(move |reader| {
            let trace = reader.trace(id)?;
            Ok(trace.map(|trace| (trace.decode(), trace.kept)))
        })
        .await?
    }

    /// As many service names as a page has room for, sorted.
    ///
    /// # Errors
    /// [`TraceQueryError::Busy`].
    pub async fn some_services(&self) -> Result<Vec<String>, TraceQueryError> {
        self.run(|reader| service::some_names(&reader)).await
    }

    /// As many names of a service's operations as a page has room for, sorted.
    ///
    /// # Errors
    /// [`TraceQueryError::Busy`].
    pub async fn some_operations(&self, service: String) -> Result<Vec<String>, TraceQueryError> {
        self.run(move |reader| service::some_operation_names(&reader, &service))
            .await
    }
}
