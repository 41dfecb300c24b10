use opentelemetry::{
    Value,
    trace::{SpanId, SpanKind},
};
use opentelemetry_sdk::trace::SpanData;
use spoor_testing::only_span;

use crate::{
    running::{both, json},
    spans::CAPTURED,
};

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    span.attributes
        .iter()
        .find(|pair| pair.key.as_str() == key)
        .map(|pair| &pair.value)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_statement_are_one_trace() {
    const ADD: &str = "spoor.wishlist.v1.Wishlist/Add";
    let (_wishlist, gateway) = both().await;
    let added = gateway.post("/api/wishes", "application/json", r#"{"name": "a bike"}"#);
    let response = added.send().await.unwrap();
    let trace = response.headers()["x-trace-id"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(json(response).await.0, 201);

    let spans = CAPTURED.spans.trace(&trace, 4).await;
    let edge = only_span(&spans, "POST /api/wishes", &SpanKind::Server);
    let call = only_span(&spans, ADD, &SpanKind::Client);
    let add = only_span(&spans, ADD, &SpanKind::Server);
    let insert = only_span(&spans, "INSERT wishes", &SpanKind::Client);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    assert_eq!(call.parent_span_id, edge.span_context.span_id());
    assert_eq!(add.parent_span_id, call.span_context.span_id());
    assert_eq!(insert.parent_span_id, add.span_context.span_id());
    assert_eq!(
        attribute(insert, "db.system.name"),
        Some(&Value::from("sqlite"))
    );
    let text = attribute(insert, "db.query.text").unwrap().to_string();
    assert!(
        text.starts_with("INSERT INTO wishes") && !text.contains("a bike"),
        "{text}"
    );
}
