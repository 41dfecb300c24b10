use opentelemetry::trace::{SpanId, SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;
use spoor_testing::only_span;

use crate::{
    running::{Vision, png},
    spans::CAPTURED,
};

const VOTE: &str = "spoor.vision.v1.Ensemble/Vote";
const CLASSIFY: &str = "spoor.vision.v1.Model/Classify";

async fn trace_of(vision: &Vision, spans: usize) -> Vec<SpanData> {
    let (status, response) = vision.classify(png(2)).await;
    assert_eq!(status, 200, "{response}");
    let id = response["traceId"].as_str().unwrap();
    CAPTURED.spans.trace(id, spans).await
}

fn all<'a>(spans: &'a [SpanData], name: &str, kind: &SpanKind) -> Vec<&'a SpanData> {
    let is_wanted = |span: &&SpanData| span.name == name && span.span_kind == *kind;
    spans.iter().filter(is_wanted).collect()
}

fn attribute(span: &SpanData, key: &str) -> String {
    let mut all = span.attributes.iter();
    let found = all.find(|attribute| attribute.key.as_str() == key);
    found.map(|it| it.value.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_one_trace_to_both_models() {
    let vision = Vision::start().await;
    // The first request queries the inputs and loads the models.
    trace_of(&vision, 22).await;
    let spans = trace_of(&vision, 14).await;
    assert_eq!(spans.len(), 14, "{spans:#?}");

    let edge = only_span(&spans, "POST /classify", &SpanKind::Server);
    assert_eq!(edge.parent_span_id, SpanId::INVALID);
    let preprocess = only_span(&spans, "preprocess", &SpanKind::Internal);
    assert_eq!(preprocess.parent_span_id, edge.span_context.span_id());
    for step in ["decode", "resize", "normalise"] {
        let step = only_span(&spans, step, &SpanKind::Internal);
        assert_eq!(step.parent_span_id, preprocess.span_context.span_id());
    }
    let decode = only_span(&spans, "decode", &SpanKind::Internal);
    assert_eq!(attribute(decode, "image.width"), "96");
    assert_eq!(attribute(decode, "image.format"), "png");

    let call = only_span(&spans, VOTE, &SpanKind::Client);
    assert_eq!(call.parent_span_id, edge.span_context.span_id());
    let votes = only_span(&spans, VOTE, &SpanKind::Server);
    assert_eq!(votes.parent_span_id, call.span_context.span_id());
    let vote = only_span(&spans, "vote", &SpanKind::Internal);
    assert_eq!(vote.parent_span_id, votes.span_context.span_id());
    assert_eq!(attribute(vote, "vote.degraded"), "false");

    let calls = all(&spans, CLASSIFY, &SpanKind::Client);
    let [one, other] = calls.as_slice() else {
        panic!("{calls:#?}")
    };
    for call in [one, other] {
        assert_eq!(call.parent_span_id, votes.span_context.span_id());
        assert!(call.end_time <= vote.start_time, "both before the vote");
    }
    let begin = one.start_time.max(other.start_time);
    assert!(begin < one.end_time.min(other.end_time), "both at once");

    let servers = all(&spans, CLASSIFY, &SpanKind::Server);
    let inferences = all(&spans, "inference", &SpanKind::Internal);
    assert_eq!(inferences.len(), 2);
    for server in servers {
        let is_its_own = |it: &&&SpanData| it.parent_span_id == server.span_context.span_id();
        let inference = inferences.iter().find(is_its_own).unwrap();
        assert!(
            !attribute(inference, "model.label").is_empty(),
            "{inference:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loading_a_model_is_traced_once() {
    let vision = Vision::start().await;
    let cold = trace_of(&vision, 22).await;
    assert_eq!(all(&cold, "load model", &SpanKind::Internal).len(), 2);
    let warm = trace_of(&vision, 14).await;
    assert_eq!(all(&warm, "load model", &SpanKind::Internal).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_model_marks_its_call_as_failed() {
    let vision = Vision::start().await;
    trace_of(&vision, 22).await;
    vision.mobilenetv2.stop.cancel();
    let mut vision = vision;
    (&mut vision.mobilenetv2.task).await.unwrap().unwrap();
    let spans = trace_of(&vision, 12).await;
    let calls = all(&spans, CLASSIFY, &SpanKind::Client);
    let is_failed = |span: &&&SpanData| matches!(span.status, Status::Error { .. });
    assert_eq!(calls.iter().filter(is_failed).count(), 1, "{calls:#?}");
    let vote = only_span(&spans, "vote", &SpanKind::Internal);
    assert_eq!(attribute(vote, "vote.degraded"), "true");
}
