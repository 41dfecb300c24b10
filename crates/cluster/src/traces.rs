//! Traces from Jaeger's query API, as a console shows them.

use std::time::Duration;

use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use spoor_console::{BackendError, FoundTraces, ListedTrace, TraceSpans};
use spoor_runtime::with_causes;
use spoor_traces::{
    Search, TraceId,
    client::{FoundTrace, MAX_TRACES, Query, QueryError, TraceClient},
    figures::{FiguresBuilder, ServiceFigures},
    tree::{Member, Tree},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::kept::kept;

/// The longest time that a search waits for the one before it.
const MAX_TURN_WAIT: Duration = Duration::from_secs(10);

/// The names of the services that have spans, sorted.
pub(crate) async fn services(traces: &TraceClient) -> Result<Vec<String>, BackendError> {
    let mut services = traces.services().await.map_err(of_query)?;
    services.sort();
    Ok(services)
}

/// The names of a service's operations, sorted.
pub(crate) async fn operations(
    traces: &TraceClient,
    service: &str,
) -> Result<Vec<String>, BackendError> {
    let operations = traces.operations(service, None).await.map_err(of_query)?;
    Ok(operations.into_iter().collect())
}

/// The traces that match, the newest first.
pub(crate) async fn find(
    traces: &TraceClient,
    search: Search,
) -> Result<FoundTraces, BackendError> {
    let _turn = turn().await?;
    // Jaeger searches only by service, so without one each service is searched.
    let services = match &search.service {
        Some(service) => vec![service.clone()],
        None => self::services(traces).await?,
    };
    let query = query(search, now());
    let found = traces.newest(&services, &query).await.map_err(of_query)?;
    Ok(FoundTraces {
        traces: found.iter().filter_map(listed).collect(),
        too_large: vec![],
        stored: None,
    })
}

/// Waits for the turn of a search. The traces of all services may take a gigabyte.
async fn turn() -> Result<SemaphorePermit<'static>, BackendError> {
    static TURNS: Semaphore = Semaphore::const_new(1);
    let busy = || {
        let message = "another search is running; try again in a few seconds";
        BackendError::Reach(message.to_owned())
    };
    let turn = timeout(MAX_TURN_WAIT, TURNS.acquire()).await;
    turn.map_err(|_| busy())?.map_err(|_| busy())
}

/// All spans of a trace.
pub(crate) async fn get(
    traces: &TraceClient,
    id: TraceId,
) -> Result<Option<TraceSpans>, BackendError> {
    match traces.trace(&id.to_string()).await {
        Ok(resource_spans) if resource_spans.is_empty() => Ok(None),
        Ok(resource_spans) => Ok(Some(TraceSpans {
            id,
            kept: kept(&resource_spans),
            resource_spans,
        })),
        Err(QueryError::Unknown(_)) => Ok(None),
        Err(error) => Err(of_query(error)),
    }
}

/// The figures of the services over the time before now, from its newest traces.
pub(crate) async fn figures(
    traces: &TraceClient,
    window: Duration,
) -> Result<ServiceFigures, BackendError> {
    let _turn = turn().await?;
    let end = now();
    let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
    let start = end.saturating_sub(nanos);
    let search = Search {
        start_min: Some(start),
        start_max: Some(end),
        limit: usize::from(MAX_TRACES),
        ..Search::default()
    };
    let services = self::services(traces).await?;
    let query = query(search, end);
    let found = traces.newest(&services, &query).await.map_err(of_query)?;
    let mut figures = FiguresBuilder::new(start..=end);
    for FoundTrace { id, tree } in &found {
        let Ok(id) = id.parse() else { continue };
        let batches = batches(tree);
        let kept = kept(&batches);
        figures.add(id, batches, kept.as_ref());
    }
    Ok(figures.finish(found.len() >= usize::from(MAX_TRACES)))
}

/// The query for a search at a time in Unix nanoseconds.
fn query(search: Search, now: u64) -> Query {
    let since = |start| Duration::from_nanos(now.saturating_sub(start));
    let lookback = search.start_min.map(since);
    Query {
        operation: search.operation,
        tags: search.tags,
        min_duration: search.duration_min,
        max_duration: search.duration_max,
        lookback: lookback.unwrap_or(Query::default().lookback),
        latest_start: search.start_max,
        limit: u16::try_from(search.limit).map_or(MAX_TRACES, |it| it.min(MAX_TRACES)),
    }
}

fn now() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(u64::MAX)
}

fn listed(FoundTrace { id, tree }: &FoundTrace) -> Option<ListedTrace> {
    let batches = batches(tree);
    let kept = kept(&batches);
    Some(ListedTrace::new(id.parse().ok()?, batches, kept))
}

/// The spans of a tree, each in a batch of its own.
fn batches(tree: &Tree) -> Vec<ResourceSpans> {
    let batch = |member: &Member| ResourceSpans {
        resource: Some((*member.resource).clone()),
        scope_spans: vec![ScopeSpans {
            scope: Some((*member.scope).clone()),
            spans: vec![member.span.clone()],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    tree.rows().iter().map(|row| batch(&row.member)).collect()
}

fn of_query(error: QueryError) -> BackendError {
    match error {
        // The transport's own errors, such as a missing right, are more precise.
        QueryError::Send(base, source) => match source.downcast::<BackendError>() {
            Ok(error) => *error,
            Err(source) => {
                let causes = with_causes(&*source);
                BackendError::Reach(format!("query to {base} failed: {causes}"))
            }
        },
        error @ QueryError::TooLarge(_) => BackendError::TooLarge(error.to_string()),
        error @ (QueryError::Unknown(_) | QueryError::NoTrace(_)) => {
            BackendError::Find(error.to_string())
        }
        error => BackendError::Reach(with_causes(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn search_keeps_its_criteria() {
        let search = Search {
            operation: Some("GET /".to_owned()),
            start_min: Some(40 * SECOND),
            start_max: Some(90 * SECOND),
            duration_max: Some(Duration::from_secs(1)),
            limit: 1_000_000,
            ..Search::default()
        };
        let query = query(search, 100 * SECOND);
        assert_eq!(query.operation.as_deref(), Some("GET /"));
        assert_eq!(query.lookback, Duration::from_secs(60));
        assert_eq!(query.latest_start, Some(90 * SECOND));
        assert_eq!(query.max_duration, Some(Duration::from_secs(1)));
        assert_eq!(query.limit, MAX_TRACES);
    }

    #[test]
    fn refusal_by_kubernetes_stays_one() {
        let refused = BackendError::Refuse("pods is forbidden".to_owned());
        let error = of_query(QueryError::Send("Jaeger".to_owned(), refused.into()));
        assert!(matches!(error, BackendError::Refuse(_)), "{error:?}");
        let broken = QueryError::Send("Jaeger".to_owned(), "connection reset".into());
        let error = of_query(broken);
        assert!(
            error
                .to_string()
                .ends_with("Jaeger failed: connection reset"),
            "{error}"
        );
    }
}
