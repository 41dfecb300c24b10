//! The spans that the roles record of their own work, on their way to an OTLP receiver.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, Span, span::SpanKind},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::DropGuard;

use crate::{
    apiserver::{self, eventually},
    collector::sink,
    role::{MAX_WAIT, replica::Release, sampling_policy::SamplingPolicy},
};

/// The spans of the service `spoor-operator`.
struct Received {
    endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
    _stop: DropGuard,
}

impl Received {
    async fn start() -> Self {
        let spans = Arc::new(Mutex::new(vec![]));
        let into = spans.clone();
        let take = move |received: Vec<ResourceSpans>| {
            for resource_spans in received {
                let resource = resource_spans.resource.unwrap_or_default();
                let service = attribute(&resource.attributes, "service.name");
                assert_eq!(service.as_deref(), Some("spoor-operator"));
                let scopes = resource_spans.scope_spans.into_iter();
                into.lock().extend(scopes.flat_map(|scope| scope.spans));
            }
            Ok(())
        };
        let (address, stop) = sink::receive(take).await;
        Self {
            endpoint: format!("http://{address}"),
            spans,
            _stop: stop,
        }
    }

    /// The environment of a role that exports all spans soon.
    fn environment(&self) -> [(&str, &str); 3] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint),
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]
    }

    /// Waits for a span of this name with this attribute.
    async fn span(&self, name: &str, key: &str, value: &str) -> Span {
        eventually(name, MAX_WAIT, async || {
            let spans = self.spans.lock();
            let found = spans.iter().find(|span| {
                span.name == name && attribute(&span.attributes, key).as_deref() == Some(value)
            });
            let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
            found.cloned().ok_or_else(|| format!("{names:?}"))
        })
        .await
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconcile_is_exported_with_its_calls() {
    let Some(server) = apiserver::shared("reconcile_is_exported_with_its_calls").await else {
        return;
    };
    let namespace = server.namespace("spoor-self-tracing").await;
    let received = Received::start().await;
    let release = Release::new(&namespace, "stacks").await;
    let _role = release.start_with("stacks-0", &received.environment());
    let stack = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "TracingStack",
        "metadata": {"name": "tracing"},
        "spec": {"route": "Direct"},
    });
    namespace.apply(stack).await.unwrap();

    let apply = received
        .span("apply Deployment", "k8s.object.name", "tracing-jaeger")
        .await;
    assert_eq!(apply.kind, SpanKind::Client as i32);
    let method = attribute(&apply.attributes, "http.request.method");
    assert_eq!(method.as_deref(), Some("PATCH"));
    let status = received
        .span("apply TracingStack/status", "k8s.object.name", "tracing")
        .await;
    assert_eq!(status.trace_id, apply.trace_id);
    let reconcile = received
        .span("reconcile TracingStack", "spoor.outcome", "Reconciled")
        .await;
    assert_eq!(apply.parent_span_id, reconcile.span_id);
    let of = attribute(&reconcile.attributes, "k8s.namespace.name");
    assert_eq!(of.as_ref(), Some(&namespace.name));
}

#[tokio::test(flavor = "multi_thread")]
async fn publication_is_exported_on_shutdown() {
    let Some(server) = apiserver::shared("publication_is_exported_on_shutdown").await else {
        return;
    };
    let namespace = server.namespace("spoor-self-tracing").await;
    let received = Received::start().await;
    let release = Release::new(&namespace, "policies").await;
    let mut environment = received.environment();
    // The delay is an hour, so only the end of the process exports the spans.
    environment[2].1 = "3600000";
    let role = release.start_with("policies-0", &environment);
    let policy = SamplingPolicy::apply(&namespace, "a", "10%").await;
    policy.wait_for_condition("Programmed").await;
    role.process.terminate();

    let publish = received
        .span("publish policies", "spoor.services.changed", "1")
        .await;
    assert!(attribute(&publish.attributes, "spoor.version").is_some());
    let resolve = received
        .span("resolve policies", "spoor.policies", "1")
        .await;
    assert_eq!(publish.parent_span_id, resolve.span_id);
    received
        .span("apply SamplingPolicy/status", "k8s.object.name", "a")
        .await;
}
