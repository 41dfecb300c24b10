//! Spans with invalid IDs, or with resources or scopes that are too large: the request succeeds
//! without them, and the response names the field.

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_client::TraceServiceClient,
    },
    trace::v1::{ResourceSpans, Span},
};
use prost::Message;
use reqwest::{Client, Response, StatusCode};
use rstest::rstest;
use serde::Serialize;
use serde_json::{Value, json};
use spoor_traces::PipelineSettings;

use super::id;
use crate::{
    receiver::Receiver,
    spans::{batch, span, text},
};

/// The ways to send a request.
#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
    Grpc,
}

/// Sends spans, and returns the number of those rejected and the message.
async fn send(receiver: &Receiver, form: Form, spans: Vec<Span>) -> (i64, String) {
    send_batches(receiver, form, vec![batch("service-a", spans)]).await
}

async fn send_batches(
    receiver: &Receiver,
    form: Form,
    resource_spans: Vec<ResourceSpans>,
) -> (i64, String) {
    let request = ExportTraceServiceRequest { resource_spans };
    let response = match form {
        Form::Protobuf => {
            let response = receiver.post(request.encode_to_vec()).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            ExportTraceServiceResponse::decode(response.bytes().await.unwrap()).unwrap()
        }
        Form::Json => {
            let response = post_json(receiver, &request).await;
            assert_eq!(response.status(), StatusCode::OK);
            return partial_success(response).await;
        }
        Form::Grpc => {
            let url = format!("http://{}", receiver.grpc);
            let mut client = TraceServiceClient::connect(url).await.unwrap();
            client.export(request).await.unwrap().into_inner()
        }
    };
    let partial = response.partial_success.unwrap_or_default();
    (partial.rejected_spans, partial.error_message)
}

async fn post_json(receiver: &Receiver, body: &impl Serialize) -> Response {
    let url = format!("http://{}/v1/traces", receiver.http);
    Client::new().post(url).json(body).send().await.unwrap()
}

async fn partial_success(response: Response) -> (i64, String) {
    let mut response: Value = response.json().await.unwrap();
    let partial = response["partialSuccess"].take();
    // Protobuf's JSON mapping writes 64-bit integers as strings.
    let rejected = partial["rejectedSpans"].as_str().unwrap().parse().unwrap();
    (
        rejected,
        partial["errorMessage"].as_str().unwrap().to_owned(),
    )
}

#[rstest]
#[tokio::test]
async fn invalid_ids_are_rejected(
    #[values(Form::Protobuf, Form::Json, Form::Grpc)] form: Form,
    #[values(100, 1 << 20)] name_bytes: usize,
) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let name = "n".repeat(name_bytes);
    let mut spans: Vec<_> = (1..=7).map(|id| span(id, id, 9, &name, 1, 2)).collect();
    spans[1].trace_id = vec![0; 16];
    spans[2].span_id = vec![1; 7];
    spans[3].parent_span_id = vec![1; 16];
    spans[4].parent_span_id = vec![0; 1];
    // Neither of these has a parent.
    spans[5].parent_span_id = vec![0; 8];
    spans[6].parent_span_id = Vec::new();
    let expected = "traceId must be 16 bytes and not all zero (1 span rejected); \
                   spanId must be 8 bytes and not all zero (1 span rejected); \
                   parentSpanId must be 8 bytes or empty (2 spans rejected)";
    let (rejected, message) = send(&receiver, form, spans).await;
    assert_eq!((rejected, message.as_str()), (4, expected));

    let totals = receiver.pipeline.totals();
    assert_eq!((totals.received, totals.kept), (7, 3));
    receiver.assert_balanced();
    let store = receiver.pipeline.store();
    assert!(store.trace(id(4)).is_none() && store.trace(id(5)).is_none());
    let metrics = receiver.metrics();
    for line in [
        "spoor_traces_spans_received_total 7",
        "spoor_traces_spans_kept_total 3",
        "spoor_traces_spans_dropped_total{reason=\"invalid_trace_id\"} 1",
        "spoor_traces_spans_dropped_total{reason=\"invalid_span_id\"} 1",
        "spoor_traces_spans_dropped_total{reason=\"invalid_parent_span_id\"} 2",
        "spoor_traces_spans_gathering 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
}

/// The lengths of the fields that the spans of a batch share.
#[derive(Clone, Copy)]
struct Lengths {
    resource: usize,
    service: usize,
    scope_name: usize,
    scope: usize,
}

const LONGEST: Lengths = Lengths {
    resource: 60_000,
    service: 1_024,
    scope_name: 1_024,
    scope: 15_000,
};

/// A batch of two spans, the first with this ID.
fn batch_of(lengths: Lengths, first: u64) -> ResourceSpans {
    let spans = (first..first + 2).map(|id| span(id, id, 0, "work", 1, 2));
    let mut batch = batch(&"s".repeat(lengths.service), spans.collect());
    let filler = text("filler", &"x".repeat(lengths.resource));
    batch.resource.as_mut().unwrap().attributes.push(filler);
    let scope = batch.scope_spans[0].scope.as_mut().unwrap();
    scope.name = "n".repeat(lengths.scope_name);
    scope.attributes = vec![text("filler", &"x".repeat(lengths.scope))];
    batch
}

#[rstest]
#[case::resource(Lengths { resource: 70_000, ..LONGEST }, "resource", "65536 bytes, not 7")]
#[case::service(Lengths { service: 1_025, ..LONGEST }, "service.name", "1024 bytes, not 1025")]
#[case::name(Lengths { scope_name: 1_025, ..LONGEST }, "scope.name", "1024 bytes, not 1025")]
#[case::scope(Lengths { scope: 17_000, ..LONGEST }, "scope", "16384 bytes, not 18")]
#[tokio::test]
async fn oversized_resources_are_rejected(
    #[case] lengths: Lengths,
    #[case] field: &str,
    #[case] expected: &str,
    #[values(Form::Protobuf, Form::Json, Form::Grpc)] form: Form,
) {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let batches = vec![batch_of(lengths, 1), batch_of(LONGEST, 3)];
    let (rejected, message) = send_batches(&receiver, form, batches).await;
    assert_eq!(rejected, 2);
    let expected = format!("{field} must be at most {expected}");
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.ends_with("(2 spans rejected)"), "{message}");
    let totals = receiver.pipeline.totals();
    assert_eq!((totals.received, totals.kept), (4, 2));
    receiver.assert_balanced();
    let metrics = receiver.metrics();
    let line = "spoor_traces_spans_dropped_total{reason=\"oversized\"} 2";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

/// Hexadecimal digits of a trace ID where those of a span ID belong.
#[tokio::test]
async fn a_trace_id_as_parent_is_rejected() {
    let receiver = Receiver::start(PipelineSettings::default()).await;
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "parentSpanId": "5b8efff798038103d269b633813fc60c",
        "name": "x",
    }]}]}]});
    let (rejected, message) = partial_success(post_json(&receiver, &body).await).await;
    assert_eq!(rejected, 1);
    assert!(message.contains("parentSpanId"), "{message}");
    assert_eq!(receiver.pipeline.store().len(), 0);
}
