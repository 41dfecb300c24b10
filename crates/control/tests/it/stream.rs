//! The policy stream.

use std::time::Duration;

use jiff::Timestamp;
use spoor_control::ControlSettings;
use spoor_policy::{Fault, FaultDelay, Namespace, Probability};
use spoor_proto::spoor::control::v1::{
    self as proto, client_message::Message, strategy::Strategy as Wire,
};
use tonic::Code;

use crate::support::{
    Poller, TestServer, eventually, expiring, instance, limit, percent, policy, resolved, within,
};

fn default_of(plan: &proto::Plan) -> Option<Wire> {
    plan.phases[0].default.and_then(|it| it.strategy)
}

#[tokio::test]
async fn plan_is_pushed_at_once_and_when_it_changes() {
    let server = TestServer::with(&[policy("one", &[("a", &["GET /"])], percent("1%"))]).await;
    let mut client = server.client("a", "1").await;
    let first = client.accept_plan().await;
    assert_eq!(default_of(&first), None);
    let operation = &first.phases[0].operations[0];
    assert_eq!(operation.operation, "GET /");
    let strategy = operation.strategy.unwrap().strategy.unwrap();
    assert_eq!(strategy, Wire::ProbabilityMillionths(10_000));

    let version = server
        .control
        .publish(resolved(&[policy("one", &[], percent("0.1%"))]));
    let second = client.accept_plan().await;
    assert_eq!(
        default_of(&second),
        Some(Wire::ProbabilityMillionths(1_000))
    );
    assert_eq!(second.version.unwrap().sequence, version.sequence);
    assert_ne!(first.digest, second.digest);
    within(server.control.converged(version)).await;
    server
        .wait_for_metric("spoor_control_acknowledgements_total 2")
        .await;
    server.wait_for_metric("spoor_control_subscribers 1").await;
}

#[tokio::test]
async fn only_changed_plans_are_pushed() {
    let of = |a: &str, b: &str| {
        resolved(&[
            policy("a", &[("a", &[])], percent(a)),
            policy("b", &[("b", &[])], percent(b)),
        ])
    };
    let server = TestServer::with(&[]).await;
    let (mut a, mut b) = (server.client("a", "1").await, server.client("b", "1").await);
    a.plan().await;
    b.plan().await;
    server.control.publish(of("1%", "1%"));
    a.plan().await;
    b.plan().await;
    server.control.publish(of("2%", "1%"));
    a.plan().await;
    server.control.publish(of("2%", "3%"));
    let plan = b.plan().await;
    let version = server.control.version();
    assert_eq!(plan.version.unwrap().sequence, version.sequence);
    server.wait_for_metric("spoor_control_pushes_total 6").await;
}

#[tokio::test]
async fn plan_includes_expiry_and_next_phase() {
    let expiry = Timestamp::now() + Duration::from_secs(3600);
    let policies = [
        expiring("override", &[("a", &[])], percent("100%"), Some(expiry)),
        policy("all", &[], percent("1%")),
    ];
    let server = TestServer::with(&policies).await;
    let plan = server.client("a", "1").await.plan().await;
    assert_eq!(plan.phases.len(), 2);
    let until = plan.phases[0].until_unix_millis;
    assert_eq!(until, Some(expiry.as_millisecond()));
    assert_eq!(plan.phases[1].until_unix_millis, None);
    let after = plan.phases[1].default.unwrap().strategy;
    assert_eq!(after, Some(Wire::ProbabilityMillionths(10_000)));
}

#[tokio::test]
async fn rate_limit_is_divided_among_instances() {
    let server = TestServer::with(&[
        policy("limit", &[("a", &[])], limit(10)),
        policy("other", &[("b", &[])], percent("1%")),
    ])
    .await;
    let share = |plan: &proto::Plan| match default_of(plan) {
        Some(Wire::TracesPerSecond(share)) => share,
        other => panic!("expected a share, not {other:?}"),
    };
    let mut other = server.client("b", "1").await;
    other.plan().await;
    let mut first = server.client("a", "1").await;
    assert_eq!(share(&first.plan().await), 10.0);
    let mut second = server.client("a", "2").await;
    assert_eq!(share(&first.plan().await), 5.0);
    while share(&second.plan().await) != 5.0 {}
    drop(first);
    assert_eq!(share(&second.plan().await), 10.0);
    let _poller = Poller::start(&server, "a");
    assert_eq!(share(&second.plan().await), 5.0);
    // The other service was sent nothing in the meantime.
    let version = server.control.publish(resolved(&[]));
    let next = other.plan().await.version.unwrap();
    assert_eq!(next.sequence, version.sequence);
}

#[tokio::test]
async fn reconnect_with_the_newest_plan_gets_no_push() {
    let server = TestServer::with(&[]).await;
    let mut client = server.client("a", "1").await;
    let plan = client.accept_plan().await;
    drop(client);
    let hello = |held_digest: Vec<u8>| {
        Message::Hello(proto::Hello {
            service: "a".to_owned(),
            instance: "1".to_owned(),
            held: plan.version,
            held_digest,
            ..Default::default()
        })
    };
    let mut client = server
        .client_with(hello(plan.digest.clone()))
        .await
        .unwrap();
    client.faults().await;
    server.wait_for_metric("spoor_control_pushes_total 1").await;
    let version = server.control.version();
    within(server.control.converged(version)).await;
    // The same version with another digest does not match.
    let mut client = server.client_with(hello(vec![1])).await.unwrap();
    assert_eq!(client.plan().await, plan);
}

#[tokio::test]
async fn faults_are_pushed_and_cleared() {
    let server = TestServer::with(&[]).await;
    let fault = Fault {
        operation: Some("GET /".parse().unwrap()),
        delay: FaultDelay::new(Duration::from_millis(300)).unwrap(),
        error_rate: "20%".parse::<Probability>().unwrap(),
    };
    let (namespace, service) = (Namespace::default(), "a".parse().unwrap());
    server
        .control
        .set_faults(&namespace, &service, vec![fault.clone()]);
    let mut client = server.client("a", "1").await;
    let expected = proto::Fault {
        operation: "GET /".to_owned(),
        delay_millis: 300,
        error_rate_millionths: 200_000,
    };
    assert_eq!(client.faults().await, [expected]);
    assert_eq!(server.control.faults()[0].faults, [fault]);
    server.control.set_faults(&namespace, &service, vec![]);
    assert_eq!(client.faults().await, []);
    assert_eq!(server.control.faults(), []);
}

#[tokio::test]
async fn no_plan_before_the_first_publication() {
    let server = TestServer::empty(ControlSettings::default()).await;
    let mut client = server.client("a", "1").await;
    assert_eq!(client.faults().await, []);
    server.control.publish(resolved(&[]));
    assert_eq!(client.plan().await.version.unwrap().sequence, 1);
}

#[tokio::test]
async fn stream_begins_with_one_hello() {
    let settings = ControlSettings {
        hello_timeout: Duration::from_millis(50),
        ..ControlSettings::default()
    };
    let server = TestServer::empty(settings).await;
    let report = Message::Report(proto::Report::default());
    let mut client = server.client_with(report).await.unwrap();
    assert_eq!(
        client.end().await.unwrap_err().code(),
        Code::InvalidArgument
    );

    let mut client = server.client("a", "1").await;
    client.send(Message::Hello(proto::Hello::default())).await;
    assert_eq!(
        client.end().await.unwrap_err().code(),
        Code::InvalidArgument
    );

    for (service, instance) in [
        ("", "1"),
        ("a", ""),
        ("a\n", "1"),
        ("a", "\u{7}"),
        ("a", "\u{202e}"),
    ] {
        let mut client = server.client(service, instance).await;
        let code = client.end().await.unwrap_err().code();
        assert_eq!(code, Code::InvalidArgument, "{service:?} {instance:?}");
    }
}

#[tokio::test]
async fn newer_stream_replaces_the_older() {
    let server = TestServer::with(&[]).await;
    let mut first = server.client("a", "1").await;
    let plan = first.plan().await;
    let mut second = server.client("a", "1").await;
    second.plan().await;
    first.acknowledge(plan.version).await;
    assert_eq!(first.end().await.unwrap_err().code(), Code::Aborted);
    let instances = server.control.instances();
    assert_eq!(instances.len(), 1);
    assert!(instances[0].is_connected && !instances[0].is_current);
}

#[tokio::test]
async fn plan_of_long_names_fits_in_a_message() {
    let names: Vec<String> = (0..4_096).map(|it| format!("{it:0>512}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut policies: Vec<_> = names
        .chunks(64)
        .enumerate()
        .map(|(at, names)| policy(&format!("p{at}"), &[("a", names)], limit(10)))
        .collect();
    let hour = |number: u64| Timestamp::now() + Duration::from_secs(number * 3_600);
    policies.extend((1..8).map(|number| {
        let name = format!("e{number}");
        expiring(&name, &[("a", &names[..1])], limit(5), Some(hour(number)))
    }));
    let server = TestServer::with(&policies).await;
    // This client has Tonic's default limit of 4 MiB.
    let plan = server.client("a", "1").await.plan().await;
    assert_eq!(plan.phases.len(), 1);
    assert_eq!(plan.phases[0].operations.len(), 4_096);
    assert_eq!(plan.phases[0].until_unix_millis, None);
}

#[tokio::test]
async fn convergence_waits_for_expected_instances() {
    let server = TestServer::with(&[]).await;
    server
        .control
        .set_expected(vec![instance("a", "1"), instance("a", "2")]);
    let version = server
        .control
        .publish(resolved(&[policy("one", &[], percent("1%"))]));
    let mut one = server.client("a", "1").await;
    one.accept_plan().await;
    eventually("the first instance is current", || {
        server.control.instances().iter().any(|it| it.is_current)
    })
    .await;
    assert_eq!(server.control.convergence(version), None);
    let mut other = server.client("a", "2").await;
    other.accept_plan().await;
    let convergence = within(server.control.converged(version)).await;
    assert_eq!(convergence.instances, 2);
    assert!(convergence.took > Duration::ZERO);
}

#[tokio::test]
async fn shutdown_ends_every_stream_and_the_server() {
    let mut server = TestServer::with(&[]).await;
    let mut clients = vec![];
    for number in 0..5 {
        let mut client = server.client("a", &number.to_string()).await;
        client.plan().await;
        clients.push(client);
    }
    server.shutdown.cancel();
    for client in &mut clients {
        assert_eq!(client.end().await.unwrap_err().code(), Code::Unavailable);
    }
    drop(clients);
    within(&mut server.grpc_server).await.unwrap().unwrap();
    server.wait_for_metric("spoor_control_subscribers 0").await;
}
