//! Queries to Jaeger, through the API server's proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::Request;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    lab::{Lab, STACK},
    stack,
};

/// The period that one query covers, which keeps responses small.
const WINDOW: Duration = Duration::from_secs(3);
/// The most traces that a query returns, more than start in a window.
const MAX_TRACES_PER_QUERY: usize = 20_000;
/// The longest delay of a trace by gathering, deciding and a retry, with a margin.
const MAX_DELAY: Duration = Duration::from_secs(12);

/// A trace, with the parts that tests check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// The service of its root, if that has arrived.
    pub root: Option<String>,
    /// The number of spans, and of distinct ones.
    pub spans: usize,
    pub distinct: usize,
    pub has_error: bool,
    /// The rule that kept it, `POLICY/RULE`, if its root names one.
    pub rule: Option<String>,
    /// The start of its first span that has arrived, since the Unix epoch.
    pub started_at: Duration,
}

/// The attribute of a root that names the rule.
const RULE: &str = "tailsampling.policy";

/// Traces by id.
pub type Traces = BTreeMap<String, Trace>;

#[derive(Deserialize)]
struct QueryResponse {
    data: Vec<FoundTrace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundTrace {
    #[serde(rename = "traceID")]
    trace_id: String,
    spans: Vec<FoundSpan>,
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundSpan {
    #[serde(rename = "spanID")]
    span_id: String,
    /// In microseconds since the Unix epoch.
    start_time: u64,
    #[serde(default)]
    references: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(rename = "processID")]
    process_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    value: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

/// Reads all traces with spans of this service since a time.
pub async fn traces(lab: &Lab, service: &str, since: SystemTime) -> Traces {
    let (mut traces, end) = (Traces::new(), SystemTime::now() + WINDOW);
    let mut from = since;
    while from < end {
        let response = query(lab, service, from, from + WINDOW).await;
        assert!(
            response.data.len() < MAX_TRACES_PER_QUERY,
            "more than {MAX_TRACES_PER_QUERY} in {WINDOW:?}"
        );
        traces.extend(response.data.into_iter().map(trace));
        from += WINDOW;
    }
    traces
}

/// Reads the same as [`traces`], once no span has arrived for [`MAX_DELAY`].
pub async fn all_traces(lab: &Lab, service: &str, since: SystemTime) -> Traces {
    let mut latest = traces(lab, service, since).await;
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < MAX_DELAY {
        tokio::time::sleep(MAX_DELAY / 4).await;
        let now = traces(lab, service, since).await;
        if spans_of(&now) != spans_of(&latest) {
            quiet_since = Instant::now();
        }
        latest = now;
    }
    latest
}

/// Reads the same as [`traces`], once there are this many spans or none has arrived for
/// [`MAX_DELAY`].
pub async fn wait_for_spans(lab: &Lab, service: &str, since: SystemTime, spans: usize) -> Traces {
    until(lab, service, since, |found| spans_of(found) >= spans).await
}

/// Reads the same as [`traces`], once there are this many traces, each at least in part, or no span
/// has arrived for [`MAX_DELAY`].
pub async fn wait_for_traces(lab: &Lab, service: &str, since: SystemTime, traces: usize) -> Traces {
    until(lab, service, since, |found| found.len() >= traces).await
}

async fn until(
    lab: &Lab,
    service: &str,
    since: SystemTime,
    is_complete: impl Fn(&Traces) -> bool,
) -> Traces {
    let (mut latest, mut changed) = (0, Instant::now());
    loop {
        let found = traces(lab, service, since).await;
        if is_complete(&found) || changed.elapsed() > MAX_DELAY {
            return found;
        }
        if spans_of(&found) != latest {
            (latest, changed) = (spans_of(&found), Instant::now());
        }
        tokio::time::sleep(MAX_DELAY / 8).await;
    }
}

fn spans_of(traces: &Traces) -> usize {
    traces.values().map(|trace| trace.spans).sum()
}

/// The base path of Jaeger, without a trailing slash.
pub async fn base_path(lab: &Lab) -> String {
    let stack = stack::read(lab).await;
    let path = stack["spec"]["jaeger"]["basePath"].as_str();
    path.unwrap_or_default().to_owned()
}

async fn query(lab: &Lab, service: &str, from: SystemTime, to: SystemTime) -> QueryResponse {
    let base = base_path(lab).await;
    let (from, to) = (micros(from), micros(to));
    // Raw, since Jaeger otherwise hides duplicate spans.
    let path = format!(
        "/api/v1/namespaces/{}/services/http:{STACK}-query:16686/proxy{base}/api/traces\
         ?service={service}&start={from}&end={to}&limit={MAX_TRACES_PER_QUERY}&raw=true",
        lab.namespace
    );
    let request = Request::get(path).body(Vec::new()).unwrap();
    lab.client.request(request).await.unwrap()
}

fn trace(found: FoundTrace) -> (String, Trace) {
    let distinct: BTreeSet<_> = found.spans.iter().map(|span| &span.span_id).collect();
    let root = found.spans.iter().find(|span| span.references.is_empty());
    let rule = root.and_then(|root| root.tags.iter().find(|tag| tag.key == RULE));
    let started_at = found.spans.iter().map(|span| span.start_time).min();
    let is_error = |tag: &Tag| tag.key == "error" && (tag.value == true || tag.value == "true");
    let trace = Trace {
        root: root.map(|span| found.processes[&span.process_id].service_name.clone()),
        spans: found.spans.len(),
        distinct: distinct.len(),
        has_error: found
            .spans
            .iter()
            .any(|span| span.tags.iter().any(is_error)),
        rule: rule.and_then(|tag| tag.value.as_str()).map(str::to_owned),
        started_at: Duration::from_micros(started_at.unwrap_or_default()),
    };
    (found.trace_id, trace)
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap().as_micros()
}
