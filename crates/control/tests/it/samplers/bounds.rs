//! Limits of the stream of tail rules.

use std::time::Duration;

use spoor_control::ControlSettings;
use spoor_proto::spoor::control::v1::{self as proto, sampler_message::Message};
use tonic::Code;
use tonic_types::StatusExt;

use super::samplers;
use crate::support::{
    TestServer, eventually, resolved,
    sampler::{hello, tail, tail_count},
    within,
};

async fn server(settings: ControlSettings) -> TestServer {
    let server = TestServer::empty(settings).await;
    server.control.publish(resolved(&[tail("one", "a", "10%")]));
    server
}

#[tokio::test]
async fn stream_begins_with_one_hello() {
    let server = server(ControlSettings::default()).await;
    let report = Message::Report(proto::TailReport::default());
    let mut sampler = server.sampler_with("", report).await.unwrap();
    let code = sampler.end().await.unwrap_err().code();
    assert_eq!(code, Code::InvalidArgument);

    let mut sampler = server.sampler("sampler-0").await;
    let again = Message::Hello(hello("sampler-0", "start-1"));
    sampler.send(again).await;
    let code = sampler.end().await.unwrap_err().code();
    assert_eq!(code, Code::InvalidArgument);

    let with_stack = |stack: &str| proto::SamplerHello {
        stack: stack.to_owned(),
        ..hello("sampler-0", "start-1")
    };
    for malformed in [
        hello("", "start-1"),
        hello("sampler-0", ""),
        hello("sampler-0", "\u{7}"),
        hello(&"x".repeat(257), "start-1"),
        with_stack("\n"),
        with_stack(&"x".repeat(254)),
    ] {
        let first = Message::Hello(malformed.clone());
        let mut sampler = server.sampler_with("", first).await.unwrap();
        let code = sampler.end().await.unwrap_err().code();
        assert_eq!(code, Code::InvalidArgument, "{malformed:?}");
    }
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="TailRuleStream",reason="Malformed"} 6"#,
        )
        .await;
}

#[tokio::test]
async fn missing_hello_ends_the_stream() {
    let server = server(ControlSettings {
        hello_timeout: Duration::from_millis(50),
        ..ControlSettings::default()
    })
    .await;
    let mut sampler = server.silent_sampler().await;
    let code = sampler.end().await.unwrap_err().code();
    assert_eq!(code, Code::DeadlineExceeded);
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="TailRuleStream",reason="NoHello"} 1"#,
        )
        .await;
}

#[tokio::test]
async fn slots_are_shared_with_the_policy_stream() {
    let server = server(ControlSettings {
        max_streams: 1,
        ..ControlSettings::default()
    })
    .await;
    let mut client = server.client("a", "1").await;
    client.plan().await;
    let first = || Message::Hello(hello("sampler-0", "start-1"));
    let refused = server.sampler_with("", first()).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().is_some());
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="TailRuleStream",reason="TooManyClients"} 1"#,
        )
        .await;
    drop(client);
    server.wait_for_metric("spoor_control_subscribers 0").await;
    server
        .sampler_with("", first())
        .await
        .unwrap()
        .rules()
        .await;
}

#[tokio::test]
async fn idle_stream_is_closed() {
    let server = server(ControlSettings {
        idle_timeout: Duration::from_millis(100),
        ..ControlSettings::default()
    })
    .await;
    let mut sampler = server.sampler("sampler-0").await;
    sampler.accept_rules().await;
    let code = sampler.end().await.unwrap_err().code();
    assert_eq!(code, Code::DeadlineExceeded);
    eventually("the sampler is disconnected", || {
        !samplers(&server)[0].connected
    })
    .await;
}

#[tokio::test]
async fn shutdown_ends_every_stream_and_the_server() {
    let mut server = server(ControlSettings::default()).await;
    let mut first = server.sampler("sampler-0").await;
    let mut second = server.sampler("sampler-1").await;
    first.rules().await;
    second.rules().await;
    server.shutdown.cancel();
    for sampler in [&mut first, &mut second] {
        assert_eq!(sampler.end().await.unwrap_err().code(), Code::Unavailable);
    }
    drop((first, second));
    within(&mut server.grpc_server).await.unwrap().unwrap();
    server.wait_for_metric("spoor_control_samplers 0").await;
}

/// A sampler whose record was removed may report counts that were added before.
#[tokio::test]
async fn forgotten_samplers_count_from_a_baseline() {
    let server = server(ControlSettings {
        max_clients: 1,
        ..ControlSettings::default()
    })
    .await;
    let mut sampler = server.sampler("sampler-0").await;
    let rules = sampler.accept_rules().await;
    sampler
        .report(vec![tail_count(&rules, "one", 5, (100, 10))])
        .await;
    let total = || {
        let counts = server.control.tail_counts(&crate::support::key("one"));
        counts.map_or(0, |counts| counts.total.decided())
    };
    eventually("the first counts", || total() == 105).await;
    drop(sampler);
    server.wait_for_metric("spoor_control_samplers 0").await;
    let mut other = server.sampler("sampler-1").await;
    other.rules().await;
    drop(other);
    eventually("the first sampler is forgotten", || {
        let states = samplers(&server);
        states.iter().all(|it| it.instance == "sampler-1")
    })
    .await;

    let first = Message::Hello(proto::SamplerHello {
        held: rules.version,
        held_digest: rules.digest.clone(),
        ..hello("sampler-0", "start-1")
    });
    let sampler = server.sampler_with("", first).await.unwrap();
    for errors in [6, 8] {
        sampler
            .report(vec![tail_count(&rules, "one", errors, (100, 10))])
            .await;
    }
    server
        .wait_for_metric("spoor_control_tail_reports_total 3")
        .await;
    assert_eq!(total(), 107);
}

/// A sampler that was with another control plane since also reports what it counted before that.
#[tokio::test]
async fn counts_of_forgotten_versions_are_ignored() {
    let server = server(ControlSettings::default()).await;
    let earlier = server.sampler("sampler-0").await.rules().await;
    server.control.publish(resolved(&[tail("one", "a", "20%")]));
    let mut other = earlier.version.unwrap();
    other.epoch -= 1;
    let first = Message::Hello(proto::SamplerHello {
        held: Some(other),
        ..hello("sampler-1", "start-1")
    });
    let mut sampler = server.sampler_with("", first).await.unwrap();
    let rules = sampler.rules().await;
    let counts = |rules, errors| tail_count(rules, "one", errors, (0, 0));
    sampler
        .report(vec![counts(&earlier, 5), counts(&rules, 2)])
        .await;
    let total = || {
        let counts = server.control.tail_counts(&crate::support::key("one"));
        counts.map_or(0, |counts| counts.total.decided())
    };
    eventually("the counts by the present rules", || total() == 2).await;
}
