//! Reads the mesh from the traces, through Jaeger's query API.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use spoor_telemetry::http::{CallError, Peer};
use tokio::{sync::Mutex, time::Instant};

use super::mesh::Mesh;

/// How far back is looked.
pub(super) const WINDOW: Duration = Duration::from_secs(60 * 60);
/// Failed traces that are looked at for each service.
const MOST_FAILED: usize = 20;
/// The longest answer.
const MOST_BYTES: usize = 8 << 20;
/// Questions at once.
const AT_ONCE: usize = 4;
/// For all questions; the page is shown without the mesh then.
const LOOK_WITHIN: Duration = Duration::from_secs(3);
/// For so long an answer serves whoever asks.
const FRESH: Duration = Duration::from_secs(2);

/// Looks at the traces for the mesh; for many at once only once. Clones share what was seen.
#[derive(Clone)]
pub(super) struct Sight {
    jaeger: Peer,
    last: Arc<Mutex<Option<(Instant, Seen)>>>,
}

/// What was seen, or why nothing was.
pub(super) type Seen = Result<Arc<Mesh>, Arc<Unseen>>;

/// Why the mesh can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unseen {
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("it did not answer all within {0:?}")]
    Late(Duration),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer can't be understood")]
    Answer(#[from] serde_json::Error),
}

impl Sight {
    pub(super) fn new(jaeger: Peer) -> Self {
        Self {
            jaeger,
            last: Arc::default(),
        }
    }

    /// The mesh of the last hour.
    pub(super) async fn look(&self) -> Seen {
        let mut last = self.last.lock().await;
        if let Some((when, seen)) = &*last
            && when.elapsed() < FRESH
        {
            return seen.clone();
        }
        let read = tokio::time::timeout(LOOK_WITHIN, self.read()).await;
        let read = read.unwrap_or(Err(Unseen::Late(LOOK_WITHIN)));
        let seen = read.map(Arc::new).map_err(|unseen| {
            tracing::warn!(error = &unseen as &dyn Error, "the mesh can't be read");
            Arc::new(unseen)
        });
        *last = Some((Instant::now(), seen.clone()));
        seen
    }

    async fn read(&self) -> Result<Mesh, Unseen> {
        let end = Timestamp::now();
        let services = self.ask::<Option<Vec<String>>>("/api/services").await?;
        let dependencies = format!(
            "/api/dependencies?endTs={}&lookback={}",
            end.as_millisecond(),
            WINDOW.as_millis()
        );
        let counts = self.ask::<Option<Vec<Dependency>>>(&dependencies).await?;
        let counts = counts.unwrap_or_default().into_iter();
        let mut mesh = Mesh::new(
            services.unwrap_or_default(),
            counts.map(|it| (it.parent, it.child, it.call_count)),
        );
        let names: Vec<String> = mesh.services.keys().cloned().collect();
        let mut answers = stream::iter(names)
            .map(|name| self.failed_traces(name, end))
            .buffer_unordered(AT_ONCE);
        while let Some(traces) = answers.next().await {
            for trace in traces? {
                trace.mark(&mut mesh);
            }
        }
        drop(answers);
        Ok(mesh)
    }

    async fn failed_traces(&self, service: String, end: Timestamp) -> Result<Vec<Trace>, Unseen> {
        let query = serde_json::json!({"error": "true"}).to_string();
        let end = end.as_microsecond();
        let start = end.saturating_sub(i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX));
        let path = format!(
            "/api/traces?service={}&tags={}&limit={MOST_FAILED}&start={start}&end={end}",
            escaped(&service),
            escaped(&query)
        );
        let found = self.ask::<Option<Vec<Trace>>>(&path).await?;
        Ok(found.unwrap_or_default())
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unseen> {
        let answer = self.jaeger.get(path, MOST_BYTES).await?;
        if answer.status() != StatusCode::OK {
            return Err(Unseen::Status(answer.status()));
        }
        let Envelope { data } = serde_json::from_slice(answer.body())?;
        Ok(data)
    }
}

/// A query's value.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    parent: String,
    child: String,
    call_count: u64,
}

/// A trace as Jaeger writes it, as far as it is needed.
#[derive(Deserialize)]
struct Trace {
    spans: Vec<Span>,
    processes: HashMap<String, Process>,
}

#[derive(Deserialize)]
struct Span {
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(rename = "processID")]
    process_id: String,
    #[serde(default)]
    references: Vec<Reference>,
    #[serde(default)]
    tags: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    service_name: String,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "refType")]
    kind: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Deserialize)]
struct KeyValue {
    key: String,
    value: serde_json::Value,
}

impl Trace {
    fn mark(&self, mesh: &mut Mesh) {
        let by_id: HashMap<&str, &Span> = self
            .spans
            .iter()
            .map(|span| (span.span_id.as_str(), span))
            .collect();
        for span in self.spans.iter().filter(|span| span.failed()) {
            let parent = span.parent().and_then(|id| by_id.get(id));
            let caller = parent.and_then(|parent| self.service(parent));
            if let Some(service) = self.service(span) {
                mesh.fail(service, caller);
            }
        }
    }

    fn service(&self, span: &Span) -> Option<&str> {
        let process = self.processes.get(&span.process_id)?;
        Some(&process.service_name)
    }
}

impl Span {
    fn failed(&self) -> bool {
        self.tags
            .iter()
            .any(|tag| tag.key == "error" && (tag.value == true || tag.value == "true"))
    }

    fn parent(&self) -> Option<&str> {
        let mut references = self.references.iter();
        let parent = references.find(|reference| reference.kind == "CHILD_OF")?;
        Some(&parent.span_id)
    }
}
