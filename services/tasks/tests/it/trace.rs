//! Traces of requests about tasks.

use opentelemetry::{
    Value,
    trace::{SpanId, SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use reqwest::Response;
use serde_json::json;
use spoor_testing::{RedisServer, only_span, unused_address};

use crate::running::{CAPTURED, Tasks};

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let pair = span.attributes.iter().find(|it| it.key.as_str() == key);
    pair.map(|pair| &pair.value)
}

fn text(span: &SpanData, key: &str) -> String {
    let value = attribute(span, key);
    value
        .unwrap_or_else(|| panic!("no {key}: {span:#?}"))
        .to_string()
}

fn events(span: &SpanData) -> Vec<&str> {
    span.events
        .iter()
        .map(|event| event.name.as_ref())
        .collect()
}

async fn spans(response: &Response, count: usize) -> Vec<SpanData> {
    let trace = response.headers()["x-trace-id"].to_str().unwrap();
    CAPTURED.spans.trace(trace, count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_commands_are_one_trace() {
    let Some(redis) = RedisServer::start("a_request_and_its_commands_are_one_trace").await else {
        return;
    };
    let flag = format!("--redis-url={}", redis.url());
    let tasks = Tasks::with(&[&flag], &CAPTURED.telemetry).await;
    let body = json!({"title": "a secret", "priority": "high", "due": "2030-01-31T12:00:00Z"});
    let response = tasks.post("/tasks", &body).await;
    assert_eq!(response.status(), 201);

    let spans = spans(&response, 3).await;
    let edge = only_span(&spans, "POST /tasks", &SpanKind::Server);
    let create = only_span(&spans, "create task", &SpanKind::Internal);
    let call = only_span(&spans, "EVALSHA create", &SpanKind::Client);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    assert_eq!(create.parent_span_id, edge.span_context.span_id());
    assert_eq!(call.parent_span_id, create.span_context.span_id());

    assert_eq!(text(create, "spoor.tasks.store"), "redis");
    assert_eq!(text(create, "task.priority"), "high");
    assert_eq!(text(create, "task.due"), "2030-01-31T12:00:00Z");
    assert_eq!(attribute(create, "task.overdue"), Some(&Value::Bool(false)));
    assert_eq!(events(create), ["task.created"]);
    assert_eq!(text(call, "db.system.name"), "redis");
    assert_eq!(text(call, "db.namespace"), "0");
    assert_eq!(text(call, "db.operation.name"), "EVALSHA");
    assert_eq!(text(call, "db.stored_procedure.name"), "create");
    assert_eq!(text(call, "server.address"), "127.0.0.1");
    assert!(attribute(call, "server.port").is_some());
    assert!(!format!("{spans:?}").contains("a secret"), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_a_late_task_records_the_delay() {
    let tasks = Tasks::in_process().await;
    let path = tasks
        .create("late", "low", Some("2020-01-01T00:00:00Z"))
        .await;
    let complete = format!("{path}/complete");
    let response = tasks.post(&complete, &json!(null)).await;
    let found = spans(&response, 3).await;
    let completing = only_span(&found, "complete task", &SpanKind::Internal);
    assert_eq!(text(completing, "spoor.tasks.store"), "in-process");
    let update = only_span(&found, "UPDATE tasks", &SpanKind::Internal);
    assert_eq!(update.parent_span_id, completing.span_context.span_id());
    let [event] = &completing.events[..] else {
        panic!("{completing:#?}")
    };
    assert_eq!(event.name, "task.completed");
    assert!(
        event
            .attributes
            .iter()
            .any(|it| it.key.as_str() == "task.late_by"),
        "{event:#?}"
    );
    let again = tasks.post(&complete, &json!(null)).await;
    let found = spans(&again, 3).await;
    let again = only_span(&found, "complete task", &SpanKind::Internal);
    assert_eq!(events(again), ["task.already_completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_record_why_redis_failed() {
    let address = unused_address();
    let flag = format!("--redis-url=redis://:top-secret@{address}/0");
    let tasks = Tasks::with(&[&flag], &CAPTURED.telemetry).await;
    let response = tasks.get("/tasks").await;
    assert_eq!(response.status(), 503);
    let spans = spans(&response, 3).await;
    let edge = only_span(&spans, "GET /tasks", &SpanKind::Server);
    let list = only_span(&spans, "list tasks", &SpanKind::Internal);
    let call = only_span(&spans, "EVALSHA list", &SpanKind::Client);
    assert_eq!(text(call, "error.type"), "connection_refused");
    for span in [edge, list, call] {
        assert!(matches!(span.status, Status::Error { .. }), "{span:#?}");
    }
    assert_eq!(events(call), ["exception"]);
    let all = format!("{spans:?}");
    assert!(
        all.contains("cannot be reached") && !all.contains("top-secret"),
        "{all}"
    );
}
