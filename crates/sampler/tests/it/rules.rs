//! Rules from the control plane.

use rstest::rstest;
use spoor_proto::spoor::control::v1::{TailCount, TailReport, sampler_message::Message};
use tempfile::TempDir;

use crate::{
    plane::{Plane, keep_errors},
    receiver::Receiver,
    running::{Running, args, args_with_journal},
    spans::{policy, trace},
};

#[tokio::test]
async fn rules_are_acknowledged_and_decide() {
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    let hello = stream.hello().await;
    assert_eq!(hello.instance, "sampler-0");
    assert!(hello.held.is_none() && !hello.start.is_empty());

    stream.push(keep_errors(1, "0%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    sampler.send(&trace(1, false)).await;
    sampler.send(&trace(2, true)).await;
    receiver.wait_for_trace(2).await;
    assert!(receiver.trace(1).is_empty());

    let spans = receiver.trace(2);
    let root = spans.iter().find(|span| span.parent_span_id.is_empty());
    assert_eq!(policy(root.unwrap()).as_deref(), Some("errors/failed"));
    assert_eq!(spans.iter().filter_map(policy).count(), 1);
    sampler.stop().await;
}

#[tokio::test]
async fn decisions_are_reported() {
    let (_receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(1, "0%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    for number in 1..=3 {
        sampler.send(&trace(number, number == 1)).await;
    }
    let is_complete = |count: &TailCount| count.decided == 3;
    let report = stream.report(|report| report.counts.iter().any(is_complete));
    let report = report.await;
    let count = &report.counts[0];
    assert_eq!(count.policy, "errors");
    assert_eq!(count.version.unwrap().sequence, 1);
    assert_eq!((&*count.rules[0].rule, count.rules[0].kept), ("failed", 1));
    assert_eq!((count.unmatched, count.unmatched_kept), (2, 0));
    let metric = r#"spoor_sampler_rule_traces_kept_total{policy="errors",rule="failed"}"#;
    assert_eq!(sampler.metric(metric).await, Some(1.0));
    let metric = r#"spoor_sampler_policy_spans_decided_total{policy="errors"}"#;
    assert_eq!(sampler.metric(metric).await, Some(6.0));
    let metric = "spoor_sampler_control_plane_connected";
    assert_eq!(sampler.metric(metric).await, Some(1.0));
    sampler.stop().await;
}

#[tokio::test]
async fn unchanged_counts_are_not_repeated() {
    let (_receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    let reported = |report: TailReport| -> Vec<(u64, u64)> {
        let counts = report.counts.into_iter();
        counts
            .map(|count| (count.version.unwrap().sequence, count.decided))
            .collect()
    };
    for sequence in 1..=2 {
        stream.push(keep_errors(sequence, "0%")).await;
        assert_eq!(stream.acknowledged().await, sequence);
        sampler.send(&trace(sequence, false)).await;
        let report = stream.report(|report| !report.counts.is_empty()).await;
        assert_eq!(reported(report), [(sequence, 1)]);
    }
    // A new stream may be that of a control plane that has no counts yet.
    drop(stream);
    let mut stream = plane.next().await;
    stream.hello().await;
    let report = stream.report(|report| !report.counts.is_empty()).await;
    assert_eq!(reported(report), [(1, 1), (2, 1)]);
    let ((), last) = tokio::join!(sampler.stop(), stream.remaining_counts());
    assert_eq!(last, []);
}

#[tokio::test]
async fn invalid_rules_are_refused() {
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(1, "0%")).await;
    assert_eq!(stream.acknowledged().await, 1);

    let mut invalid = keep_errors(2, "100%");
    invalid.policies[0].otherwise_millionths = 2_000_000;
    stream.push(invalid).await;
    let Message::Refusal(refusal) = stream.response().await else {
        panic!("expected a refusal");
    };
    assert_eq!(refusal.version.unwrap().sequence, 2);
    let field = "policies[0].otherwise_millionths: ";
    assert!(refusal.reason.starts_with(field), "{}", refusal.reason);

    sampler.send(&trace(1, false)).await;
    sampler.send(&trace(2, true)).await;
    receiver.wait_for_trace(2).await;
    assert!(receiver.trace(1).is_empty(), "the former rules decide");
    sampler.stop().await;
}

#[tokio::test]
async fn rules_stay_without_the_control_plane() {
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let address = plane.address;
    let sampler = Running::start(args(), output, Some(address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(7, "0%")).await;
    assert_eq!(stream.acknowledged().await, 7);
    drop(stream);
    plane.kill().await;
    sampler.send(&trace(1, false)).await;
    sampler.send(&trace(2, true)).await;
    receiver.wait_for_trace(2).await;
    assert!(receiver.trace(1).is_empty());

    let mut plane = Plane::start_at(address).await;
    let mut stream = plane.next().await;
    let hello = stream.hello().await;
    assert_eq!(hello.held.unwrap().sequence, 7);
    assert_eq!(hello.held_digest, keep_errors(7, "0%").digest);
    stream.push(keep_errors(8, "100%")).await;
    assert_eq!(stream.acknowledged().await, 8);
    sampler.send(&trace(3, false)).await;
    receiver.wait_for_trace(3).await;
    sampler.stop().await;
}

#[tokio::test]
async fn rules_survive_a_restart() {
    let folder = TempDir::new().unwrap();
    let (receiver, output) = Receiver::start().await;
    let mut plane = Plane::start().await;
    let args = || args_with_journal(folder.path());
    let sampler = Running::start(args(), output, Some(plane.address)).await;
    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(3, "0%")).await;
    assert_eq!(stream.acknowledged().await, 3);
    sampler.stop().await;
    drop(stream);
    plane.kill().await;

    let sampler = Running::start(args(), output, None).await;
    sampler.send(&trace(1, false)).await;
    sampler.send(&trace(2, true)).await;
    receiver.wait_for_trace(2).await;
    assert!(receiver.trace(1).is_empty());
    sampler.stop().await;
}

#[tokio::test]
async fn every_trace_is_kept_before_the_first_rules() {
    let (receiver, output) = Receiver::start().await;
    let sampler = Running::start(args(), output, None).await;
    sampler.send(&trace(1, false)).await;
    receiver.wait_for_trace(1).await;
    assert_eq!(receiver.spans().iter().filter_map(policy).count(), 0);
    sampler.stop().await;
}

/// A node that fails may leave an empty file or zeros.
#[rstest]
#[case::damaged(b"damaged")]
#[case::empty(b"")]
#[case::zeros(&[0_u8; 512])]
#[tokio::test]
async fn damaged_file_of_rules_keeps_every_trace(#[case] content: &[u8]) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("tail-rules.binpb"), content).unwrap();
    let (receiver, output) = Receiver::start().await;
    let sampler = Running::start(args_with_journal(folder.path()), output, None).await;
    sampler.send(&trace(1, false)).await;
    receiver.wait_for_trace(1).await;
    sampler.stop().await;
}
