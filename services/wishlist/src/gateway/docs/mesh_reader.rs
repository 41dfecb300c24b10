//! Reads the mesh from the traces, through Jaeger's query API.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use http::StatusCode;
use jiff::Timestamp;
use maud::Markup;
use opentelemetry::{Context, trace::FutureExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use spoor_map::ServiceMap;
use spoor_telemetry::http::{Peer, PeerCallError, untraced_context};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task,
    time::Instant,
};
use tracing::Instrument;

use super::view;

/// The maximum age of the traces that calls and errors are read from. Services are listed whatever
/// the age of their traces.
const WINDOW: Duration = Duration::from_secs(60 * 60);
/// The most failed traces read for each service.
const MAX_FAILED_TRACES: usize = 20;
/// The longest response accepted.
const MAX_RESPONSE_BYTES: usize = 8 << 20;
/// The most concurrent queries.
const MAX_QUERIES: usize = 4;
/// The maximum time for all queries, after which the page is shown without the mesh.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);
/// The time for which a drawing is reused.
const MAX_AGE: Duration = Duration::from_secs(2);

/// A reader of the mesh. Clones share the last drawing, and concurrent requests share one read.
#[derive(Clone)]
pub(super) struct MeshReader {
    jaeger: Peer,
    // An async mutex, held during a read, so that requests which arrive meanwhile wait for its result.
    // The drawing is kept instead of the mesh, since the layout of a large one takes 50 ms.
    last: Arc<Mutex<Option<Drawing>>>,
}

/// The time at which the mesh was read, and its drawing.
type Drawing = (Instant, Arc<Markup>);

/// The mesh, or the reason why it is unknown.
type MeshResult = Result<ServiceMap, ReadMeshError>;

/// The error of reading the mesh.
#[derive(Debug, thiserror::Error)]
enum ReadMeshError {
    #[error("{0}")]
    Call(#[from] PeerCallError),
    #[error("the queries took longer than {0:?}")]
    Timeout(Duration),
    #[error("HTTP status {0}")]
    Status(StatusCode),
    #[error("the read was aborted")]
    Aborted(#[from] task::JoinError),
    #[error("invalid response")]
    Response(#[from] serde_json::Error),
}

impl MeshReader {
    pub(super) fn new(jaeger: Peer) -> Self {
        Self {
            jaeger,
            last: Arc::default(),
        }
    }

    /// A drawing of the mesh, with the calls and errors of the last hour.
    pub(super) async fn draw(&self) -> Arc<Markup> {
        let last = Arc::clone(&self.last).lock_owned().await;
        if let Some((read_at, drawing)) = &*last
            && read_at.elapsed() < MAX_AGE
        {
            return Arc::clone(drawing);
        }
        // Not traced: otherwise each empty search, a 404, would be a failed call of the gateway in the
        // next diagram.
        let context = untraced_context(&Context::current());
        let redraw = self.clone().redraw(last).with_context(context);
        // In a task of its own: a client that disconnects would otherwise end the read that others wait
        // for.
        let drawing = tokio::spawn(redraw.in_current_span()).await;
        drawing.unwrap_or_else(|error| Arc::new(view::mesh(&MeshResult::Err(error.into()), WINDOW)))
    }

    async fn redraw(self, mut last: OwnedMutexGuard<Option<Drawing>>) -> Arc<Markup> {
        let read = tokio::time::timeout(QUERY_TIMEOUT, self.read()).await;
        let read = read.unwrap_or(Err(ReadMeshError::Timeout(QUERY_TIMEOUT)));
        if let Err(error) = &read {
            let error = error as &dyn Error;
            tracing::warn!(error, "cannot read the mesh from Jaeger");
        }
        let drawing = Arc::new(view::mesh(&read, WINDOW));
        // Failures are reused as well, so that reloading the page does not add load to a failing Jaeger.
        *last = Some((Instant::now(), Arc::clone(&drawing)));
        drawing
    }

    async fn read(&self) -> MeshResult {
        let end = Timestamp::now();
        let services = self.query::<Services>("/api/v3/services").await?;
        let dependencies = format!(
            "/api/dependencies?endTs={}&lookback={}",
            end.as_millisecond(),
            WINDOW.as_millis()
        );
        let counts = self.query::<Dependencies>(&dependencies).await?.data;
        let counts = counts.unwrap_or_default().into_iter();
        let mut mesh = ServiceMap::new(
            services.services,
            counts.map(|it| (it.parent, it.child, it.call_count)),
        );
        let names: Vec<String> = mesh.services.keys().cloned().collect();
        let mut traces_by_service = stream::iter(names)
            .map(|name| self.failed_traces(name, end))
            .buffer_unordered(MAX_QUERIES);
        while let Some(traces) = traces_by_service.next().await {
            traces?.mark_failures(&mut mesh);
        }
        drop(traces_by_service);
        Ok(mesh)
    }

    /// Finds traces of a service that have a failed span.
    async fn failed_traces(
        &self,
        service: String,
        end: Timestamp,
    ) -> Result<Traces, ReadMeshError> {
        let start = end.checked_sub(WINDOW).unwrap_or(Timestamp::UNIX_EPOCH);
        // The search of API v3, since newer versions of Jaeger no longer have that of v1. The limit is
        // `num_traces` in the HTTP gateway of Jaeger 2.13 and `search_depth` in later ones; each ignores
        // the other.
        let path = format!(
            "/api/v3/traces?query.service_name={}&query.attributes={}\
             &query.search_depth={MAX_FAILED_TRACES}&query.num_traces={MAX_FAILED_TRACES}\
             &query.start_time_min={start}&query.start_time_max={end}",
            utf8_percent_encode(&service, NON_ALPHANUMERIC),
            utf8_percent_encode(r#"{"error":"true"}"#, NON_ALPHANUMERIC)
        );
        match self.query(&path).await {
            // Jaeger responds with 404 to a search that finds nothing. If the traces found are too large,
            // the mesh is still worth showing without them.
            Err(ReadMeshError::Status(StatusCode::NOT_FOUND | StatusCode::PAYLOAD_TOO_LARGE)) => {
                Ok(Traces::default())
            }
            Err(error) => Err(error),
            Ok(SearchResult { result }) => Ok(result),
        }
    }

    async fn query<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReadMeshError> {
        let response = self.jaeger.get(path, MAX_RESPONSE_BYTES).await?;
        if response.status() != StatusCode::OK {
            return Err(ReadMeshError::Status(response.status()));
        }
        Ok(serde_json::from_slice(response.body())?)
    }
}

#[derive(Deserialize)]
struct Services {
    // Protobuf's JSON leaves out an empty list.
    #[serde(default)]
    services: Vec<String>,
}

#[derive(Deserialize)]
struct Dependencies {
    // Null if there are no calls.
    data: Option<Vec<Dependency>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    parent: String,
    child: String,
    call_count: u64,
}

#[derive(Deserialize)]
struct SearchResult {
    result: Traces,
}

/// The parts of OTLP/JSON traces that are used here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Traces {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    attributes: Vec<ServiceName>,
}

/// The value of an attribute if its key is `service.name`. The others are not kept: as a JSON value,
/// an empty one takes 50 times its length, and a response may have hundreds of thousands.
#[derive(Deserialize)]
#[serde(from = "Attribute")]
struct ServiceName(Option<String>);

impl From<Attribute> for ServiceName {
    fn from(Attribute { key, value }: Attribute) -> Self {
        let value = value.filter(|_| key == "service.name");
        Self(value.and_then(|value| value.string_value))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attribute {
    key: String,
    value: Option<AttributeValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AttributeValue {
    string_value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ScopeSpans {
    spans: Vec<Span>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    kind: Value,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: Value,
}

/// OTLP's status code for an error.
const ERROR_CODE: u8 = 2;
/// OTLP's span kind for a call to another service.
const CLIENT_KIND: u8 = 3;

impl Traces {
    fn mark_failures(&self, mesh: &mut ServiceMap) {
        // Span IDs are unique within a trace only.
        let by_id: HashMap<(&str, &str), (&str, &Span)> = self
            .spans()
            .map(|found| ((&*found.1.trace_id, &*found.1.span_id), found))
            .collect();
        for (service, span) in self.spans() {
            if span.is_failed() {
                mesh.mark_service_failed(service);
            }
            let parent = by_id.get(&(&*span.trace_id, &*span.parent_span_id));
            // A call whose caller gave up has no error at its callee, which only sees that it was
            // cancelled.
            if let Some((caller, parent)) = parent
                && (span.is_failed() || parent.kind == CLIENT_KIND && parent.is_failed())
            {
                mesh.mark_call_failed(caller, service);
            }
        }
    }

    /// All spans, each with its service.
    fn spans(&self) -> impl Iterator<Item = (&str, &Span)> {
        self.resource_spans.iter().flat_map(|batch| {
            // Once for the batch: a resource may have a hundred thousand attributes.
            let service = batch.service();
            let spans = batch.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| (service, span))
        })
    }
}

impl Span {
    fn is_failed(&self) -> bool {
        let status = self.status.as_ref();
        status.is_some_and(|status| status.code == ERROR_CODE)
    }
}

impl ResourceSpans {
    fn service(&self) -> &str {
        let mut names = self.resource.attributes.iter();
        names.find_map(|it| it.0.as_deref()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::empty(json!([]), "")]
    #[case::without_a_value(json!([{}, {"value": {}}, {"key": "service.name"}]), "")]
    #[case::first(
        json!([
            {"key": "host.name", "value": {"stringValue": "h"}},
            {"key": "service.name", "value": {"stringValue": "a", "other": [1]}},
            {"key": "service.name", "value": {"stringValue": "b"}},
        ]),
        "a"
    )]
    #[case::other_types(
        json!([
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}]}}},
            {"key": "service.name", "value": {"intValue": "1"}},
        ]),
        ""
    )]
    fn service_is_read_from_attributes(#[case] attributes: Value, #[case] expected: &str) {
        let batch = json!({"resource": {"attributes": attributes}});
        let batch: ResourceSpans = serde_json::from_value(batch).unwrap();
        assert_eq!(batch.service(), expected);
    }
}
