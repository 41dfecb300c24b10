//! The counts of a policy's evidence.

use spoor_control::Counts;
use spoor_policy::statistics::Verdict;
use spoor_proto::spoor::control::v1::{self as proto, client_message::Message};

use crate::{
    evidence::numbers,
    support::{Client, TestServer, count, eventually, key, limit, percent, policy, resolved},
};

fn counts(server: &TestServer, service: &str) -> Counts {
    let namespace = Default::default();
    server
        .control
        .counts(&namespace, &service.parse().unwrap(), None)
}

async fn counted(server: &TestServer, service: &str, started: u64, sampled: u64) {
    let expected = Counts { started, sampled };
    eventually(&format!("{expected:?}"), || {
        counts(server, service) == expected
    })
    .await;
}

#[tokio::test]
async fn counts_add_up_across_reconnects_and_restarts() {
    let server = TestServer::with(&[policy("one", &[("a", &["GET /"])], percent("50%"))]).await;
    let mut client = server.client("a", "1").await;
    let plan = client.accept_plan().await;
    let report = |client: &Client, started, sampled| {
        let counts = vec![count(&plan, "GET /", started, sampled)];
        let outgoing = client.outgoing.clone();
        async move {
            let report = proto::Report {
                counts,
                ..Default::default()
            };
            let message = Some(Message::Report(report));
            outgoing
                .send(proto::ClientMessage { message })
                .await
                .unwrap();
        }
    };
    report(&client, 10, 5).await;
    counted(&server, "a", 10, 5).await;
    report(&client, 30, 16).await;
    counted(&server, "a", 30, 16).await;
    drop(client);
    let mut client = server.client("a", "1").await;
    client.accept_plan().await;
    report(&client, 31, 16).await;
    counted(&server, "a", 31, 16).await;
    let mut restarted = server.client("a", "2").await;
    restarted.accept_plan().await;
    report(&restarted, 4, 4).await;
    counted(&server, "a", 35, 20).await;

    let evidence = server.control.evidence(&key("one")).unwrap();
    let observed = evidence.observed.unwrap();
    assert_eq!((observed.started, observed.sampled), (35, 20));
    assert!(observed.interval.lower < 20.0 / 35.0 && 20.0 / 35.0 < observed.interval.upper);
    assert_eq!(observed.verdict, Verdict::Unknown);
}

#[tokio::test]
async fn counts_since_a_version_exclude_older_ones() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("100%"))]).await;
    let mut client = server.client("a", "1").await;
    let first = client.accept_plan().await;
    client.report(vec![count(&first, "", 10, 10)]).await;
    counted(&server, "a", 10, 10).await;
    let version = server
        .control
        .publish(resolved(&[policy("one", &[("a", &[])], percent("0%"))]));
    let second = client.accept_plan().await;
    client
        .report(vec![count(&first, "", 11, 11), count(&second, "", 7, 0)])
        .await;
    counted(&server, "a", 18, 11).await;
    let (namespace, service) = (Default::default(), "a".parse().unwrap());
    let since = server.control.counts(&namespace, &service, Some(version));
    assert_eq!((since.started, since.sampled), (7, 0));
    // Counts under the policy's former strategy do not affect the observed rate of the new one.
    let observed = server
        .control
        .evidence(&key("one"))
        .unwrap()
        .observed
        .unwrap();
    assert_eq!((observed.started, observed.sampled), (7, 0));
    // A publication that changes no plan keeps the plan in force, and its counts.
    let version = server
        .control
        .publish(resolved(&[policy("one", &[("a", &[])], percent("0%"))]));
    let since = server.control.counts(&namespace, &service, Some(version));
    assert_eq!((since.started, since.sampled), (7, 0));
}

#[tokio::test]
async fn forged_reports_are_counted_and_ignored() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("50%"))]).await;
    let mut client = server.client("a", "1").await;
    let plan = client.accept_plan().await;
    client.report(vec![count(&plan, "", 10, 5)]).await;
    let mut never_sent = plan.version.unwrap();
    never_sent.sequence += 1;
    client.report(vec![count(&plan, "", 10, 11)]).await;
    client.report(vec![count(&plan, "", 9, 5)]).await;
    client.report(vec![count(&plan, "GET /", 1, 1)]).await;
    client
        .report(vec![count(&plan, "", u64::MAX, u64::MAX)])
        .await;
    client.acknowledge(Some(never_sent)).await;
    client.acknowledge(None).await;
    for reason in [
        "SampledOverStarted",
        "Decreased",
        "UnknownOperation",
        "Implausible",
        "NeverSent",
        "NoVersion",
    ] {
        let line = format!(r#"spoor_control_rejected_messages_total{{reason="{reason}"}} 1"#);
        server.wait_for_metric(&line).await;
    }
    counted(&server, "a", 10, 5).await;
    client.report(vec![count(&plan, "", 11, 6)]).await;
    counted(&server, "a", 11, 6).await;
    assert_eq!(numbers(&server, "one"), [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn reports_root_services_and_unseen_operations() {
    let policies = [policy(
        "one",
        &[("a", &["GET /", "GET /never"]), ("b", &[])],
        percent("50%"),
    )];
    let server = TestServer::with(&policies).await;
    let (mut a, mut b) = (server.client("a", "1").await, server.client("b", "1").await);
    let plan = a.accept_plan().await;
    b.accept_plan().await;
    let unseen = || {
        let evidence = server.control.evidence(&key("one")).unwrap();
        let operations = evidence.services[0].operations.clone();
        operations
            .iter()
            .filter(|it| it.seen == Some(false))
            .count()
    };
    a.report(vec![count(&plan, "GET /", 1, 0)]).await;
    counted(&server, "a", 1, 0).await;
    assert_eq!(
        unseen(),
        0,
        "one trace is too few to report an operation as unseen"
    );
    a.report(vec![count(&plan, "GET /", 20, 0)]).await;
    counted(&server, "a", 20, 0).await;
    let evidence = server.control.evidence(&key("one")).unwrap();
    assert_eq!(evidence.root_services, ["a".parse().unwrap()]);
    let seen: Vec<_> = evidence
        .services
        .iter()
        .map(|it| (it.service.as_str(), it.has_roots))
        .collect();
    assert_eq!(seen, [("a", true), ("b", false)]);
    let operations: Vec<_> = evidence.services[0]
        .operations
        .iter()
        .map(|it| (it.operation.as_str(), it.seen))
        .collect();
    assert_eq!(
        operations,
        [("GET /", Some(true)), ("GET /never", Some(false))]
    );
}

#[tokio::test]
async fn new_operation_is_not_unseen_immediately() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("50%"))]).await;
    let mut client = server.client("a", "1").await;
    let before = client.accept_plan().await;
    client.report(vec![count(&before, "", 1_000, 500)]).await;
    counted(&server, "a", 1_000, 500).await;
    server.control.publish(resolved(&[policy(
        "one",
        &[("a", &["GET /"])],
        percent("50%"),
    )]));
    let seen = || {
        let evidence = server.control.evidence(&key("one")).unwrap();
        evidence.services[0].operations[0].seen
    };
    assert_eq!(seen(), None, "no process has counted it separately yet");
    let after = client.accept_plan().await;
    client.report(vec![count(&after, "", 20, 0)]).await;
    eventually("not seen", || seen() == Some(false)).await;
    client.report(vec![count(&after, "GET /", 1, 0)]).await;
    eventually("seen", || seen() == Some(true)).await;
}

#[tokio::test]
async fn retargeted_policy_begins_a_new_tally() {
    let on = |service| policy("one", &[(service, &[])], percent("60%"));
    let server = TestServer::with(&[on("a")]).await;
    let (mut a, mut b) = (server.client("a", "1").await, server.client("b", "1").await);
    let plan = a.accept_plan().await;
    b.accept_plan().await;
    a.report(vec![count(&plan, "", 1_000, 600)]).await;
    counted(&server, "a", 1_000, 600).await;
    let observed = || server.control.evidence(&key("one")).unwrap().observed;
    assert_eq!(observed().map(|it| it.started), Some(1_000));
    server.control.publish(resolved(&[on("b")]));
    assert_eq!(observed(), None);
    // A late report of the service that the policy no longer targets.
    a.report(vec![count(&plan, "", 2_000, 1_200)]).await;
    counted(&server, "a", 2_000, 1_200).await;
    assert_eq!(observed(), None);
    let plan = b.accept_plan().await;
    b.report(vec![count(&plan, "", 10, 6)]).await;
    counted(&server, "b", 10, 6).await;
    assert_eq!(observed().map(|it| it.started), Some(10));
}

#[tokio::test]
async fn decisions_under_no_policy_count_as_roots_only() {
    let server = TestServer::with(&[]).await;
    let mut client = server.client("a", "1").await;
    let plan = client.accept_plan().await;
    client.report(vec![count(&plan, "", 3, 3)]).await;
    counted(&server, "a", 3, 3).await;
    server
        .control
        .publish(resolved(&[policy("one", &[("b", &[])], percent("1%"))]));
    let evidence = server.control.evidence(&key("one")).unwrap();
    assert_eq!(evidence.observed, None);
    assert_eq!(evidence.root_services, ["a".parse().unwrap()]);
    assert!(!evidence.services[0].has_roots);
    assert_eq!(server.control.evidence(&key("unknown")), None);
}

#[tokio::test]
async fn limit_applies_to_each_service_separately() {
    let server = TestServer::with(&[policy("one", &[("a", &[]), ("b", &[])], limit(1))]).await;
    let observed = |started| {
        let evidence = server.control.evidence(&key("one")).unwrap();
        evidence.observed.filter(|it| it.started == started)
    };
    let mut clients = vec![];
    for service in ["a", "b"] {
        let mut client = server.client(service, "1").await;
        let plan = client.accept_plan().await;
        client.report(vec![count(&plan, "", 6, 6)]).await;
        clients.push((client, plan));
    }
    eventually("both reports", || observed(12).is_some()).await;
    assert_eq!(observed(12).unwrap().verdict, Verdict::Consistent);
    let (client, plan) = &clients[0];
    client.report(vec![count(plan, "", 994, 994)]).await;
    eventually("the third report", || observed(1_000).is_some()).await;
    assert_eq!(observed(1_000).unwrap().verdict, Verdict::TooHigh);
}
