//! Tests of the recorder and the stream of events, with a backend in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::{
    body::{Body, BodyDataStream},
    response::Response,
};
use futures_util::StreamExt;
use http::{Request, StatusCode, header};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::{console::ConsoleSettings, fake::FakeBackend, history::ChangeKind};

/// The longest wait for an event.
const DEADLINE: Duration = Duration::from_secs(30);

const POLICY: &str = "
apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {name: a}
spec:
  targets: [{service: service-a}]
  head: {probability: 1%}
";

struct Recorded {
    backend: Arc<FakeBackend>,
    console: Console,
    stop: CancellationToken,
    recorder: JoinHandle<()>,
}

impl Recorded {
    fn start() -> Self {
        let backend = Arc::new(FakeBackend::default());
        let of_console = Arc::clone(&backend);
        let console = Console::new(of_console, ConsoleSettings::default());
        let stop = CancellationToken::new();
        let (recording, until) = (console.clone(), stop.clone());
        let recorder = tokio::spawn(async move { recording.record(until).await });
        Self {
            backend,
            console,
            stop,
            recorder,
        }
    }

    async fn events(&self) -> Received {
        let request = Request::get("/policies/events").body(Body::empty());
        let response = self.console.router().oneshot(request.unwrap()).await;
        let response: Response = response.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        Received {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }
}

struct Received {
    body: BodyDataStream,
    text: String,
}

impl Received {
    /// Reads until the stream contains a text, and returns what was received until then.
    async fn until(&mut self, expected: &str) -> String {
        while !self.text.contains(expected) {
            let next = timeout(DEADLINE, self.body.next()).await.unwrap();
            let bytes = next.unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        mem::take(&mut self.text)
    }

    /// Reads until the stream ends.
    async fn end(&mut self) {
        let rest = async { while self.body.next().await.is_some() {} };
        timeout(DEADLINE, rest).await.unwrap();
    }
}

#[tokio::test]
async fn applied_policy_is_sent_and_recorded() {
    let recorded = Recorded::start();
    let mut events = recorded.events().await;
    let first = events.until("event: policies").await;
    assert!(first.contains("retry: 2000"), "{first}");
    recorded.backend.apply_text(POLICY);
    events.until("\"policies\":[\"default/a\"]").await;
    let key = key_of(&recorded.backend.listed()[0]).unwrap();
    let changes = recorded.console.history().changes(&key);
    assert_eq!(changes[0].kind, ChangeKind::Created);
    assert_eq!(changes[0].strategy, "1%");
}

#[tokio::test]
async fn unreadable_policies_are_reported() {
    let recorded = Recorded::start();
    let mut events = recorded.events().await;
    events.until("event: policies").await;
    recorded.backend.fail(Some("the lab is gone"));
    events.until("event: error\ndata: the lab is gone").await;
    recorded.backend.fail(None);
    events.until("event: policies").await;
}

#[tokio::test]
async fn streams_end_with_the_recorder() {
    let recorded = Recorded::start();
    let mut events = recorded.events().await;
    events.until("event: policies").await;
    recorded.stop.cancel();
    events.end().await;
    timeout(DEADLINE, recorded.recorder).await.unwrap().unwrap();
}

#[test]
fn revision_changes_with_the_policy() {
    let backend = FakeBackend::default();
    backend.apply_text(POLICY);
    let mut revisions = Revisions::default();
    let mut policies = backend.listed();
    let first = revisions.update(&policies);
    assert_eq!(revisions.update(&policies), first);
    policies[0].metadata.generation = Some(2);
    assert_ne!(revisions.update(&policies), first);
    assert!(revisions.update(&[]).is_empty());
}
