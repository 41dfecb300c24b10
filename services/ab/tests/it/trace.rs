use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use spoor_testing::only_span;

use crate::{
    pair::{get, json, service_a, service_b},
    spans::CAPTURED,
};

const WORK: &str = "spoor.ab.v1.ServiceB/Work";

async fn trace_of(a: std::net::SocketAddr, path: &str, spans: usize) -> Vec<SpanData> {
    let (_, body) = json(get(a, path).await).await;
    CAPTURED
        .spans
        .trace(body["traceId"].as_str().unwrap(), spans)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_one_trace_through_both_services() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    let spans = trace_of(a.address, "/?wait=1ms&calc=100", 5).await;
    let edge = only_span(&spans, "GET /", &SpanKind::Server);
    let call = only_span(&spans, WORK, &SpanKind::Client);
    let work = only_span(&spans, WORK, &SpanKind::Server);
    let wait = only_span(&spans, "SELECT orders", &SpanKind::Client);
    let calc = only_span(&spans, "heavy_calc", &SpanKind::Internal);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    assert_eq!(call.parent_span_id, edge.span_context.span_id());
    assert_eq!(work.parent_span_id, call.span_context.span_id());
    assert_eq!(wait.parent_span_id, work.span_context.span_id());
    assert_eq!(calc.parent_span_id, work.span_context.span_id());
    assert!(wait.end_time <= calc.start_time, "waits, then computes");
    assert!(
        spans
            .iter()
            .all(|span| !matches!(span.status, Status::Error { .. })),
        "{spans:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_wait_and_rounds_make_no_span() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    assert_eq!(trace_of(a.address, "/?wait=0ms&calc=0", 3).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_marks_the_spans_of_both_services() {
    let b = service_b(&["--error-rate=100%"]).await;
    let a = service_a(b.address, &[]).await;
    let spans = trace_of(a.address, "/?wait=0ms&calc=0", 3).await;
    let edge = only_span(&spans, "GET /", &SpanKind::Server);
    let call = only_span(&spans, WORK, &SpanKind::Client);
    let work = only_span(&spans, WORK, &SpanKind::Server);
    for span in [edge, call, work] {
        assert!(matches!(span.status, Status::Error { .. }), "{span:#?}");
    }
    for span in [edge, work] {
        assert!(
            span.events.iter().any(|event| event.name == "exception"),
            "{span:#?}"
        );
    }
}
