//! Limits of the control plane, and the independence of its clients.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use spoor_control::{Control, ControlSettings};
use spoor_proto::spoor::control::v1::{self as proto, client_message::Message};
use spoor_runtime::{Limits, Listener, bind, by_protocol};
use tokio_util::sync::CancellationToken;
use tonic::{Code, service::Routes, transport::Channel};
use tonic_types::StatusExt;

use crate::support::{
    TIMEOUT, TestServer, eventually, key, percent, policy, resolved, subscribe, within,
};

async fn server(settings: ControlSettings) -> TestServer {
    let server = TestServer::empty(settings).await;
    server.control.publish(resolved(&[]));
    server
}

#[tokio::test]
async fn streams_are_bounded() {
    let server = server(ControlSettings {
        max_streams: 2,
        ..ControlSettings::default()
    })
    .await;
    let mut first = server.client("a", "1").await;
    let mut second = server.client("a", "2").await;
    first.plan().await;
    second.plan().await;
    let hello = || {
        Message::Hello(proto::Hello {
            service: "a".to_owned(),
            instance: "3".to_owned(),
            ..Default::default()
        })
    };
    let refused = server.client_with(hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="Stream",reason="TooManyClients"} 1"#,
        )
        .await;
    drop(first);
    server.wait_for_metric("spoor_control_subscribers 1").await;
    server.client_with(hello()).await.unwrap().plan().await;
}

/// Opens more streams than the listener allows requests. The lab and the operator use the same kind
/// of listener.
#[tokio::test]
async fn stream_flood_leaves_room_for_requests() {
    let control = Control::new(ControlSettings {
        max_streams: 30,
        ..ControlSettings::default()
    });
    control.publish(resolved(&[]));
    let grpc = Routes::new(control.policy_stream()).into_axum_router();
    let sockets = bind("127.0.0.1:0".parse().unwrap(), "the test").unwrap();
    let url = format!("http://{}", sockets.local_addr().unwrap());
    let listener = Listener::new(sockets, by_protocol(control.sampling_http(), grpc));
    let limits = Limits {
        max_requests: 40,
        ..Limits::default()
    };
    let stop = CancellationToken::new();
    let serving = listener.limits(limits).serve(TIMEOUT, stop.clone());
    let server = tokio::spawn(serving);
    let channel = Channel::from_shared(url.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let (mut open, mut refused) = (vec![], vec![]);
    for number in 0..60 {
        let hello = Message::Hello(proto::Hello {
            service: format!("service-{number}"),
            instance: "1".to_owned(),
            ..Default::default()
        });
        match subscribe(channel.clone(), "", hello).await {
            Ok(client) => open.push(client),
            Err(status) => refused.push(status),
        }
    }
    assert_eq!((open.len(), refused.len()), (30, 30));
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().unwrap();
        assert!(retry.retry_delay.is_some());
    }
    for _ in 0..3 {
        let url = format!("{url}/sampling?service=a");
        let response = within(reqwest::get(url)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    drop((open, channel));
    stop.cancel();
    within(server).await.unwrap().unwrap();
}

#[test]
fn default_streams_fit_on_a_listener() {
    let (streams, requests) = (
        ControlSettings::default().max_streams,
        Limits::default().max_requests,
    );
    assert!(streams + 1_000 <= requests, "{streams} of {requests}");
}

#[tokio::test]
async fn services_are_bounded_and_removed() {
    let server = server(ControlSettings {
        max_services: 2,
        ..ControlSettings::default()
    })
    .await;
    let mut open = server.client("a", "1").await;
    open.plan().await;
    for number in 0..5 {
        let mut closed = server.client(&format!("closed-{number}"), "1").await;
        closed.plan().await;
        drop(closed);
        server.wait_for_metric("spoor_control_subscribers 1").await;
    }
    let mut other = server.client("b", "1").await;
    other.plan().await;
    let mut refused = server.client("c", "1").await;
    let code = refused.end().await.unwrap_err().code();
    assert_eq!(code, Code::ResourceExhausted);
}

#[tokio::test]
async fn oversized_message_ends_its_stream() {
    let server = server(ControlSettings::default()).await;
    let mut client = server.client("a", "1").await;
    client.plan().await;
    let reason = "x".repeat(2 << 20);
    let refusal = proto::Refusal {
        version: None,
        reason,
    };
    client.send(Message::Refusal(refusal)).await;
    within(client.end()).await.unwrap_err();
    server.wait_for_metric("spoor_control_subscribers 0").await;
    server
        .wait_for_metric(r#"spoor_control_rejected_messages_total{reason="Unreadable"} 1"#)
        .await;
}

#[tokio::test]
async fn labels_of_refusals_are_bounded() {
    let server = server(ControlSettings::default()).await;
    let mut client = server.client("a", "1").await;
    let version = client.plan().await.version;
    for number in 0..100 {
        let reason = format!("Reason{number}");
        let refusal = proto::Refusal { version, reason };
        client.send(Message::Refusal(refusal)).await;
    }
    server
        .wait_for_metric(r#"spoor_control_refusals_total{reason="Other"} 84"#)
        .await;
}

#[tokio::test]
async fn idle_stream_is_closed() {
    let server = server(ControlSettings {
        idle_timeout: Duration::from_millis(100),
        ..ControlSettings::default()
    })
    .await;
    let mut client = server.client("a", "1").await;
    client.accept_plan().await;
    let code = client.end().await.unwrap_err().code();
    assert_eq!(code, Code::DeadlineExceeded);
}

/// One subscriber reads nothing while hundreds of plans are published, each so large that few fit
/// in the connection's window. The other subscriber receives each of them without delay.
#[tokio::test]
async fn slow_subscriber_does_not_delay_others() {
    let server = server(ControlSettings::default()).await;
    let mut slow = server.client("a", "slow").await;
    let mut fast = server.client("a", "fast").await;
    slow.plan().await;
    fast.plan().await;
    let operations: Vec<String> = (0..60).map(|it| format!("{it:0>500}")).collect();
    let operations: Vec<&str> = operations.iter().map(String::as_str).collect();
    let mut last = server.control.version();
    for round in 0..500_u32 {
        let head = percent(&format!("0.{:0>4}%", round + 1));
        let policies = [policy("one", &[("a", &operations)], head)];
        last = server.control.publish(resolved(&policies));
        let started = Instant::now();
        let mut received = fast.plan().await;
        while received.version.unwrap().sequence != last.sequence {
            received = fast.plan().await;
        }
        assert!(started.elapsed() < Duration::from_secs(2));
        if round % 100 == 0 {
            fast.acknowledge(received.version).await;
        }
    }
    let mut received = 0;
    while slow.plan().await.version.unwrap().sequence != last.sequence {
        received += 1;
    }
    assert!(
        received < 250,
        "{received} plans were queued for the slow subscriber"
    );
}

#[tokio::test]
async fn listed_instances_are_bounded() {
    let server = server(ControlSettings::default()).await;
    server
        .control
        .publish(resolved(&[policy("one", &[("a", &[])], percent("1%"))]));
    let expected = (0..500).map(|it| crate::support::instance("a", &it.to_string()));
    server.control.set_expected(expected.collect());
    let clients = server.control.evidence(&key("one")).unwrap().clients;
    assert_eq!((clients.never_asked, clients.not_current.len()), (500, 100));
    server.control.set_expected(vec![]);
    eventually("no expected instances", || {
        let evidence = server.control.evidence(&key("one")).unwrap();
        evidence.clients.expected == 0
    })
    .await;
}
