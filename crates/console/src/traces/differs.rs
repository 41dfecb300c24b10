//! The page that tells what slow or failed traces have that others do not have.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, Uri};
use maud::html;
use spoor_traces::{
    TraceId,
    query::{go, parameters::Parameters},
    tree::{Feature, Tree, features, over_represented},
};
use tokio::{sync::Semaphore, task::JoinError, time::timeout};

use super::{MAX_WAIT, filter::Filter, findings, listed::ListedTrace, read};
use crate::{
    backend::BackendError,
    console::Console,
    layout::{Section, Site},
};

/// The most traces that are read.
const MAX_TRACES: usize = 200;
/// The most bytes of features in memory.
const MAX_FEATURE_BYTES: usize = 32 << 20;
/// The time after which no further trace is read.
const MAX_READ_TIME: Duration = Duration::from_secs(20);
/// The memory of a feature beside its text, approximately.
const FEATURE_BYTES: usize = 100;

/// The turn of this page, so that its features are in memory only once.
static TURN: Semaphore = Semaphore::const_new(1);

/// The traces to compare with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those slower than a duration, or than the median.
    Slow(Option<Duration>),
    /// Those with an error.
    Failed,
}

/// The features of the traces that were read.
#[derive(Debug, Default)]
pub struct Sample {
    pub selected: Vec<BTreeSet<Feature>>,
    pub rest: Vec<BTreeSet<Feature>>,
    /// The number of traces that were found but not read, since they are too large or too many.
    pub left_out: usize,
    /// The duration above which a trace is slow.
    pub threshold: Duration,
    bytes: usize,
}

impl Selection {
    fn read(parameters: &Parameters) -> Result<Self, String> {
        if parameters.get("select") == Some("failed") {
            return Ok(Self::Failed);
        }
        let slower = parameters.get("slower").map(str::trim).unwrap_or_default();
        if slower.is_empty() {
            return Ok(Self::Slow(None));
        }
        let read = go::duration(slower).map(|duration| Self::Slow(Some(duration)));
        read.map_err(|_| "enter a number with a unit, such as 100ms or 1.2s".to_owned())
    }

    fn contains(self, trace: &ListedTrace, threshold: Duration) -> bool {
        match self {
            Self::Slow(_) => trace.duration > threshold,
            Self::Failed => trace.errors > 0,
        }
    }

    fn threshold(self, traces: &[ListedTrace]) -> Duration {
        match self {
            Self::Slow(Some(given)) => given,
            _ => median(traces),
        }
    }
}

impl Sample {
    fn add(&mut self, is_selected: bool, features: BTreeSet<Feature>) {
        self.bytes += features.iter().map(size).sum::<usize>();
        match is_selected {
            true => self.selected.push(features),
            false => self.rest.push(features),
        }
    }
}

/// `GET /differs` with the fields of the search, `select` and `slower`.
pub async fn page(State(console): State<Console>, uri: Uri, parameters: Parameters) -> Response {
    let site = Site::of(&console, &uri);
    let mut filter = Filter::read(&parameters);
    filter.search.limit = MAX_TRACES;
    let slower = parameters.text("slower").unwrap_or_default();
    let selection = Selection::read(&parameters);
    let (selection, problem) = match selection {
        Ok(selection) => (selection, None),
        Err(problem) => (Selection::Slow(None), Some(problem)),
    };
    let form = findings::form(&site, &filter, selection, &slower, problem.as_deref());
    if problem.is_some() || !filter.problems.is_empty() {
        let content = html! {
            (findings::heading())
            (form)
            @for (field, problem) in &filter.problems {
                p .problem role="alert" { (field) ": " (problem) "." }
            }
        };
        let page = site.document_with(Section::Traces, "What differs", "traces", content);
        return (StatusCode::BAD_REQUEST, page).into_response();
    }
    let sample = match sample(&console, &filter, selection).await {
        Ok(sample) => sample,
        Err(error) => return site.error(Section::Traces, &error),
    };
    let render = move || {
        let found = over_represented(&sample.selected, &sample.rest);
        let content = html! {
            (findings::heading())
            (form)
            (findings::findings(&site, selection, &sample, &found))
        };
        (
            StatusCode::OK,
            site.document_with(Section::Traces, "What differs", "traces", content),
        )
    };
    console.render(render).await
}

/// Reads the traces that match, one at a time, and keeps their features only.
async fn sample(
    console: &Console,
    filter: &Filter,
    selection: Selection,
) -> Result<Sample, BackendError> {
    let busy = || {
        BackendError::Reach("another comparison is running; try again in a few seconds".to_owned())
    };
    let turn = timeout(MAX_WAIT, TURN.acquire()).await;
    let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
    let started = Instant::now();
    let found = console.backend().find_traces(filter.search.clone()).await?;
    let mut traces = found.traces;
    if filter.hides_routine() {
        traces.retain(|trace| !trace.is_routine);
    }
    traces.truncate(MAX_TRACES);
    let mut sample = Sample {
        threshold: selection.threshold(&traces),
        left_out: found.too_large.len(),
        ..Sample::default()
    };
    for trace in &traces {
        if sample.bytes > MAX_FEATURE_BYTES || started.elapsed() > MAX_READ_TIME {
            sample.left_out += 1;
            continue;
        }
        let is_selected = selection.contains(trace, sample.threshold);
        match read_features(console, trace.id).await {
            Ok(Some(features)) => sample.add(is_selected, features),
            // It may have been evicted in the meantime.
            Ok(None) | Err(BackendError::TooLarge(_)) => sample.left_out += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(sample)
}

async fn read_features(
    console: &Console,
    id: TraceId,
) -> Result<Option<BTreeSet<Feature>>, BackendError> {
    let Some((spans, turn)) = read(console, id).await? else {
        return Ok(None);
    };
    let extract = move || {
        // Until the spans are dropped.
        let _turn = turn;
        features(&Tree::new(spans.resource_spans))
    };
    let extracted = tokio::task::spawn_blocking(extract).await;
    let failed =
        |error: JoinError| BackendError::Reach(format!("cannot read the trace {id}: {error}"));
    extracted.map(Some).map_err(failed)
}

fn size(feature: &Feature) -> usize {
    let text = match feature {
        Feature::Service(service) => service.len(),
        Feature::Operation { service, operation } => service.len() + operation.len(),
        Feature::Attribute { key, value } => key.len() + value.len(),
    };
    FEATURE_BYTES + text
}

/// The median of the durations: the lower one of the two in the middle.
fn median(traces: &[ListedTrace]) -> Duration {
    let mut durations: Vec<Duration> = traces.iter().map(|trace| trace.duration).collect();
    durations.sort_unstable();
    let middle = durations.len().saturating_sub(1) / 2;
    durations.get(middle).copied().unwrap_or_default()
}
