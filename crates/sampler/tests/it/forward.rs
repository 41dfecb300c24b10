//! Spans from a sender to a receiver.

use rstest::rstest;
use spoor_testing::infrastructure::{assert_healthy, assert_listed};
use tonic::Status;

use crate::{
    peers::wait_until_ready,
    plane::{Plane, keep_errors},
    receiver::Receiver,
    running::{Running, args, until},
    spans::trace,
};

const SERVICE: &str = "opentelemetry.proto.collector.trace.v1.TraceService";
const TRACES: u64 = 20;

#[tokio::test]
async fn nothing_is_lost_while_the_receiver_is_unavailable() {
    // A port that is free until the receiver starts.
    let [output] = spoor_testing::ports::free();
    let sampler = Running::start(args(), output, None).await;
    for number in 1..=TRACES {
        sampler.send(&trace(number, false)).await;
    }
    let failures = "spoor_sampler_send_failures_total";
    until("an attempt", async || {
        sampler.metric(failures).await > Some(0.0)
    })
    .await;

    let receiver = Receiver::default();
    receiver.listen(output).await;
    let all = 2 * TRACES as usize;
    receiver.wait_for_spans(all).await;
    let sent = "spoor_sampler_spans_sent_total";
    until("their counts", async || {
        sampler.metric(sent).await == Some(all as f64)
    })
    .await;
    sampler.stop().await;
}

#[tokio::test]
async fn failing_receiver_gets_one_batch_at_a_time() {
    let (receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    receiver.fail_next(6);
    for number in 1..=3 {
        sampler.send(&trace(number, false)).await;
        let failures = "spoor_sampler_send_failures_total";
        until("a failure", async || {
            sampler.metric(failures).await > Some(0.0)
        })
        .await;
    }
    receiver.wait_for_spans(6).await;
    assert_eq!(receiver.max_failing_in_progress(), 1);
    sampler.stop().await;
}

#[tokio::test]
async fn refused_batch_is_counted() {
    let (receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    receiver.refuse_next(Status::invalid_argument("not these"));
    sampler.send(&trace(1, false)).await;
    let refused = "spoor_sampler_spans_refused_total";
    until("the refusal", async || {
        sampler.metric(refused).await == Some(2.0)
    })
    .await;
    sampler.send(&trace(2, false)).await;
    receiver.wait_for_trace(2).await;
    assert!(receiver.trace(1).is_empty());
    sampler.stop().await;
}

/// OTLP forbids retrying these.
#[rstest]
#[case::no_permission(Status::permission_denied("no token"))]
#[case::another_server(Status::unimplemented("unknown service"))]
#[case::failed_receiver(Status::internal("no storage"))]
#[tokio::test]
async fn failure_of_the_receiver_loses_nothing(#[case] failure: Status) {
    let (receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    receiver.refuse_next(failure);
    sampler.send(&trace(1, false)).await;
    receiver.wait_for_trace(1).await;
    let failures = "spoor_sampler_send_failures_total";
    assert!(sampler.metric(failures).await > Some(0.0));
    let refused = "spoor_sampler_spans_refused_total";
    assert_eq!(sampler.metric(refused).await, Some(0.0));
    sampler.stop().await;
}

#[tokio::test]
async fn waiting_traces_are_sent_at_shutdown() {
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let mut args = args();
    args.decision_wait = std::time::Duration::from_secs(60);
    args.max_trace_duration = args.decision_wait;
    let sampler = Running::start(args, output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(1, "100%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    sampler.send(&trace(1, false)).await;
    let gathering = "spoor_sampler_traces_gathering";
    assert_eq!(sampler.metric(gathering).await, Some(1.0));
    // Read meanwhile, since the sampler waits for the end of the stream.
    let report = stream.report(|report| report.counts.iter().any(|it| it.decided == 1));
    let ((), report) = tokio::join!(sampler.stop(), report);
    assert_eq!(report.counts[0].unmatched_kept, 1);
    assert_eq!(receiver.trace(1).len(), 2);
}

#[tokio::test]
async fn other_signals_are_refused_with_advice() {
    let (_receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    let response = sampler.post("/v1/metrics", Vec::new()).await;
    assert_eq!(response.status(), 404);
    let message = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
    assert!(message.contains("a sampler decides on traces"), "{message}");
    sampler.stop().await;
}

#[tokio::test]
async fn other_apis_are_refused_with_a_hint() {
    let (_receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    let url = format!("http://{}/api/traces", sampler.address);
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 404);
    let message = response.text().await.unwrap();
    assert!(
        message.contains("a sampler accepts spans over OTLP"),
        "{message}"
    );
    sampler.stop().await;
}

#[tokio::test]
async fn health_and_reflection_respond() {
    let (_receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    assert_healthy(sampler.address, SERVICE).await;
    assert_listed(sampler.address, SERVICE).await;
    wait_until_ready(&sampler).await;
    assert_eq!(sampler.ops("/healthz").await.0, 200);
    sampler.stop().await;
}

#[tokio::test]
async fn sampler_is_not_ready_before_its_first_rules() {
    let (_receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    assert_eq!(sampler.ops("/readyz").await.0, 503);
    stream.push(keep_errors(1, "0%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    wait_until_ready(&sampler).await;
    sampler.stop().await;
}
