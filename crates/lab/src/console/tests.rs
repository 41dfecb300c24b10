//! The console over a control plane, a pipeline and a policy store.
#![allow(clippy::unwrap_used)]

use std::{fmt::Write, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use spoor_console::{Console, ConsoleSettings};
use spoor_traces::{Pipeline, PipelineSettings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;

const HOST: &str = "127.0.0.1:16686";
const ORIGIN: &str = "http://127.0.0.1:16686";

struct Lab {
    router: Router,
    console: Console,
    control: Control,
    policies: PolicyStore,
    _folder: TempDir,
}

impl Lab {
    /// A lab with a policy of 1 % for service-b.
    fn start(is_read_only: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::new(spoor_control::ControlSettings::default());
        let pipeline = Pipeline::start(PipelineSettings::default(), CancellationToken::new());
        let saved = folder.path().join("policies.json");
        let policies = PolicyStore::open(control.clone(), pipeline.clone(), saved, None).unwrap();
        policies.apply(&documents(document("1%")).unwrap()).unwrap();
        let backend = LabBackend::new(
            "http://127.0.0.1:16600",
            policies.clone(),
            control.clone(),
            Permits::default(),
            Queries::new(pipeline.store().clone()),
            None,
        );
        let console = Console::new(Arc::new(backend), ConsoleSettings { is_read_only });
        Self {
            router: console.router(),
            console,
            control,
            policies,
            _folder: folder,
        }
    }

    async fn get(&self, path: &str) -> axum::response::Response {
        let request = Request::get(path).header(header::HOST, HOST);
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// The token in the hidden field of a page.
    async fn token(&self) -> String {
        let page = self.get("/policies").await;
        let body = page.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let (_, rest) = text.split_once("name=\"token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Sends the form that raises the rate to 37 %.
    async fn raise(&self, token: &str, origin: &str) -> StatusCode {
        let policy = self.policies.list(None).pop().unwrap();
        let generation = policy.metadata.generation.unwrap();
        let yaml = encoded(&document("37%").text);
        let form = format!(
            "token={}&yaml={yaml}&generation={generation}",
            encoded(token)
        );
        let request = Request::post("/policies/apply")
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap().status()
    }
}

fn document(rate: &str) -> Document {
    Document {
        source: "policy".to_owned(),
        text: format!(
            "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata: {{name: one}}
spec: {{targets: [{{service: service-b}}], head: {{probability: {rate}}}}}"
        ),
    }
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

#[tokio::test]
async fn form_with_a_token_publishes_the_rate() {
    let lab = Lab::start(false);
    let before = lab.control.version().sequence;
    let status = lab.raise(&lab.token().await, ORIGIN).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(lab.control.version().sequence, before + 1);
}

#[rstest::rstest]
#[case::without_token(false, "", ORIGIN)]
#[case::of_another_origin(false, "token", "http://shop.example")]
#[case::read_only(true, "token", ORIGIN)]
#[tokio::test]
async fn refused_form_changes_nothing(
    #[case] is_read_only: bool,
    #[case] token: &str,
    #[case] origin: &str,
) {
    let lab = Lab::start(is_read_only);
    let before = lab.control.version();
    // A read-only page need not have a form, and is refused before its token is checked.
    let token = match (token, is_read_only) {
        ("", _) | (_, true) => token.to_owned(),
        _ => lab.token().await,
    };
    assert_eq!(lab.raise(&token, origin).await, StatusCode::FORBIDDEN);
    assert_eq!(lab.control.version(), before);
}

#[tokio::test]
async fn stream_sends_the_row_of_a_changed_policy() {
    let lab = Lab::start(false);
    let (console, stop) = (lab.console.clone(), CancellationToken::new());
    let recording = tokio::spawn({
        let stop = stop.clone();
        async move { console.record(stop).await }
    });
    let mut stream = lab.get("/policies/events").await.into_body();
    let applied = documents(document("37%")).unwrap();
    lab.policies.apply(&applied).unwrap();
    let has_row = async {
        let mut text = String::new();
        while !(text.contains("event: policies") && text.contains("37")) {
            let frame = stream.frame().await.unwrap().unwrap();
            if let Ok(data) = frame.into_data() {
                text.push_str(&String::from_utf8_lossy(&data));
            }
        }
    };
    let received = tokio::time::timeout(Duration::from_secs(10), has_row).await;
    assert!(received.is_ok());
    stop.cancel();
    recording.await.unwrap();
}
