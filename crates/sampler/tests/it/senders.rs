//! Senders that end before they have sent all spans of a trace.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, trace_service_client::TraceServiceClient,
};
use tonic::transport::Channel;

use crate::{
    plane::{Connected, Plane, keep_errors},
    receiver::Receiver,
    running::{Running, args, until},
    spans::{spans_of_trace, trace},
};

const POSTPONED: &str = "spoor_sampler_decisions_postponed_total";
const GATHERING: &str = "spoor_sampler_traces_gathering";

/// A sampler that keeps traces with errors, with its receiver and its stream of rules.
async fn start() -> (Running, Receiver, Connected) {
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let mut args = args();
    // Enough for the sampler to find that a connection has ended.
    args.decision_wait = Duration::from_secs(2);
    args.max_trace_duration = Duration::from_secs(8);
    let sampler = Running::start(args, output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(1, "0%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    (sampler, receiver, stream)
}

/// A sender over gRPC that has sent a request.
async fn sender(
    sampler: &Running,
    request: ExportTraceServiceRequest,
) -> TraceServiceClient<Channel> {
    let url = format!("http://{}", sampler.address);
    let mut sender = TraceServiceClient::connect(url).await.unwrap();
    sender.export(request).await.unwrap();
    sender
}

#[tokio::test]
async fn interrupted_trace_waits_for_its_error() {
    let (sampler, receiver, _stream) = start().await;
    let [root, failed] = spans_of_trace(1, true);
    drop(sender(&sampler, root).await);
    until("a postponed decision", async || {
        sampler.metric(POSTPONED).await > Some(0.0)
    })
    .await;
    assert_eq!(sampler.metric(GATHERING).await, Some(1.0));

    let _sender = sender(&sampler, failed).await;
    receiver.wait_for_trace(1).await;
    sampler.stop().await;
}

#[tokio::test]
async fn other_senders_prevent_an_interruption() {
    let (sampler, _receiver, _stream) = start().await;
    let _other = sender(&sampler, trace(1, false)).await;
    drop(sender(&sampler, trace(2, false)).await);
    until("decisions", async || {
        sampler.metric(GATHERING).await == Some(0.0)
    })
    .await;
    assert_eq!(sampler.metric(POSTPONED).await, Some(0.0));
    sampler.stop().await;
}

#[tokio::test]
async fn end_of_an_http1_connection_postpones_nothing() {
    let (sampler, _receiver, _stream) = start().await;
    sampler.send(&trace(1, false)).await;
    until("a decision", async || {
        sampler.metric(GATHERING).await == Some(0.0)
    })
    .await;
    assert_eq!(sampler.metric(POSTPONED).await, Some(0.0));
    sampler.stop().await;
}
