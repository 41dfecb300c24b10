//! The figures of services, computed from the stored traces.

use std::time::Duration;

use super::{
    Queries, TraceQueryError,
    limits::Reader,
    parameters::{nanos, now},
};
use crate::{
    Search,
    figures::{FiguresBuilder, ServiceFigures},
};

/// The most traces from which figures are computed, the newest ones.
const MAX_FIGURE_TRACES: usize = 20_000;

impl Queries {
    /// The figures of all services in the time up to now. They are partial if there are more than
    /// 20,000 traces, or if reading them takes too long.
    ///
    /// # Errors
    /// [`TraceQueryError::Busy`] and [`TraceQueryError::TooSlow`].
    pub async fn figures(&self, window: Duration) -> Result<ServiceFigures, TraceQueryError> {
        let end = now();
        let start = end.saturating_sub(nanos(window));
        let aggregates = self.aggregates();
        aggregates
            .run(move |reader| figures(&reader, start, end))
            .await?
    }
}

fn figures(reader: &Reader, start: u64, end: u64) -> Result<ServiceFigures, TraceQueryError> {
    let search = Search {
        start_min: Some(start),
        start_max: Some(end),
        limit: MAX_FIGURE_TRACES + 1,
        ..Search::default()
    };
    let found = reader.find(&search)?;
    let is_cut = found.len() > MAX_FIGURE_TRACES;
    let mut builder = FiguresBuilder::new(start..=end);
    // One at a time: together they may be as large as the store.
    for id in found.into_iter().take(MAX_FIGURE_TRACES) {
        match reader.trace(id) {
            Ok(Some(trace)) => builder.add(id, trace.decode(), Some(&trace.kept)),
            Ok(None) => {}
            Err(TraceQueryError::TraceTooLarge(_)) => builder.skip_too_large(),
            Err(TraceQueryError::TooSlow) => return Ok(builder.finish(true)),
            Err(error) => return Err(error),
        }
    }
    Ok(builder.finish(is_cut))
}
