//! The pages with figures of two services.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use http::Request;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use spoor_traces::{TraceId, figures::FiguresBuilder};
use tower::ServiceExt;

use super::*;
use crate::{ConsoleSettings, fake::FakeBackend};

const MS: u64 = 1_000_000;

/// A service with one span, which has the number of the service as its ID. A parent of 0 means none.
fn batch(service: &str, id: u8, parent: u8, name: &str) -> ResourceSpans {
    let value = Value::StringValue(service.to_owned());
    let attribute = KeyValue {
        key: "service.name".to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    };
    let span = Span {
        span_id: vec![id; 8],
        parent_span_id: vec![parent; 8],
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: MS,
        end_time_unix_nano: 101 * MS,
        trace_state: "ot=th:e6666666666666".to_owned(),
        ..Span::default()
    };
    ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    }
}

/// A backend in which one service called another, 10 times in 10 seconds.
fn backend(caller: &str, callee: &str) -> FakeBackend {
    let backend = FakeBackend::default();
    let mut builder = FiguresBuilder::new(0..=10_000 * MS);
    let spans = vec![batch(caller, 1, 0, "GET /"), batch(callee, 2, 1, "<i>get")];
    builder.add(TraceId::from_bytes([7; 16]), spans, None);
    *backend.figures.lock() = builder.finish(false);
    backend
}

async fn get(backend: FakeBackend, path: &str) -> (StatusCode, String) {
    let console = Console::new(Arc::new(backend), ConsoleSettings::default());
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = console.router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn no_traces_are_explained() {
    let (status, page) = get(FakeBackend::default(), "/services").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("There are no traces of the last 15 minutes"),
        "{page}"
    );
}

#[tokio::test]
async fn sampled_requests_stand_for_all() {
    let (status, page) = get(backend("a", "b"), "/services?minutes=5").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Computed from 1 trace"), "{page}");
    assert!(page.contains("<td class=\"number\">1.00</td>"), "{page}");
    assert!(
        page.contains("<a href=\"./services/a?minutes=5\">"),
        "{page}"
    );
    assert!(page.contains("<title>a → b: 10</title>"), "{page}");
}

#[tokio::test]
async fn service_links_to_exemplars_and_callers() {
    let (status, page) = get(backend("a", "b"), "/services/b").await;
    assert_eq!(status, StatusCode::OK);
    let id = TraceId::from_bytes([7; 16]);
    assert!(page.contains(&format!("href=\"../trace/{id}\"")), "{page}");
    assert!(page.contains("href=\"../services/a?minutes=15\""), "{page}");
    assert!(
        page.contains("&lt;i&gt;get") && !page.contains("<i>get"),
        "{page}"
    );
}

#[tokio::test]
async fn service_has_the_sampling_in_force() {
    let backend = backend("a", "b");
    backend.apply_text(
        "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata:\n  name: few\nspec:\n  \
         targets:\n    - service: b\n  head:\n    probability: 1%\n",
    );
    let (_, page) = get(backend, "/services/b").await;
    assert!(page.contains("href=\"../policies/default/few\""), "{page}");
}

#[tokio::test]
async fn hostile_names_are_inert() {
    let hostile = "<script>\u{202e}/..\"";
    let (_, page) = get(backend(hostile, "b"), "/services").await;
    assert!(
        !page.contains("<script>") && !page.contains('\u{202e}'),
        "{page}"
    );
    let encoded = utf8_percent_encode(hostile, NON_ALPHANUMERIC);
    let (status, page) = get(backend(hostile, "b"), &format!("/services/{encoded}")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        !page.contains("<script>") && !page.contains('\u{202e}'),
        "{page}"
    );
}

#[rstest::rstest]
#[case("/services/unknown", StatusCode::NOT_FOUND)]
#[case("/services/%ff", StatusCode::NOT_FOUND)]
#[case("/services?minutes=-1", StatusCode::OK)]
#[tokio::test]
async fn requests_have_statuses(#[case] path: &str, #[case] expected: StatusCode) {
    assert_eq!(get(backend("a", "b"), path).await.0, expected);
}

#[tokio::test]
async fn failure_of_the_backend_is_shown() {
    let backend = backend("a", "b");
    backend.fail(Some("the store is busy"));
    let (status, page) = get(backend, "/services").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("the store is busy"), "{page}");
}
