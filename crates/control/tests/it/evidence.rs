//! The evidence of a policy's effect.

use std::time::Duration;

use spoor_control::{ClientCounts, ControlSettings, Evidence, NotCurrentReason};
use spoor_proto::spoor::control::v1::{self as proto, client_message::Message};

use crate::support::{
    Poller, TestServer, eventually, instance, key, limit, percent, policy, resolved,
};

fn clients(server: &TestServer, name: &str) -> ClientCounts {
    server.control.evidence(&key(name)).unwrap().clients
}

/// The numbers of clients: expected, current, refused, polling, and silent or never asked.
pub(crate) fn numbers(server: &TestServer, name: &str) -> [usize; 5] {
    let it = clients(server, name);
    let absent = it.silent + it.never_asked;
    [it.expected, it.current, it.refused, it.polling, absent]
}

#[tokio::test]
async fn instances_are_counted_by_state() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("1%"))]).await;
    let expected = ["1", "2", "3"].map(|id| instance("a", id));
    server.control.set_expected(expected.to_vec());
    assert_eq!(numbers(&server, "one"), [3, 0, 0, 0, 3]);

    let mut elsewhere = server.client("b", "of another service").await;
    elsewhere.accept_plan().await;
    let mut current = server.client("a", "1").await;
    current.accept_plan().await;
    let mut refusing = server.client("a", "2").await;
    let version = refusing.plan().await.version;
    let reason = "UnknownStrategy".to_owned();
    refusing
        .send(Message::Refusal(proto::Refusal { version, reason }))
        .await;
    eventually("one client in each state", || {
        numbers(&server, "one") == [3, 1, 1, 0, 1]
    })
    .await;
    let reasons: Vec<_> = clients(&server, "one")
        .not_current
        .into_iter()
        .map(|it| (it.instance, it.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            (
                "2".to_owned(),
                NotCurrentReason::Refused("UnknownStrategy".to_owned())
            ),
            ("3".to_owned(), NotCurrentReason::NeverAsked),
        ]
    );
    server
        .wait_for_metric(r#"spoor_control_refusals_total{reason="UnknownStrategy"} 1"#)
        .await;

    // An unexpected instance that has not acknowledged yet, and a client that polls.
    let mut surplus = server.client("a", "4").await;
    surplus.plan().await;
    let url = format!("{}/sampling?service=a", server.http);
    reqwest::get(&url).await.unwrap();
    assert_eq!(
        numbers(&server, "one"),
        [4, 1, 1, 0, 1],
        "one request does not make a client"
    );
    let _poller = Poller::start(&server, "a");
    eventually("a polling client", || {
        numbers(&server, "one") == [4, 1, 1, 1, 0]
    })
    .await;
    assert_eq!(clients(&server, "one").pending(), 1);
    let slowest = server.control.evidence(&key("one")).unwrap().slowest;
    assert!(slowest.is_some_and(|it| it < Duration::from_secs(10)));
}

#[tokio::test]
async fn polling_clients_are_counted_one_by_one() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("1%"))]).await;
    reqwest::get(format!("{}/sampling?service=a", server.http))
        .await
        .unwrap();
    assert_eq!(
        numbers(&server, "one"),
        [0; 5],
        "one request does not make a client"
    );
    let _one = Poller::start(&server, "a");
    eventually("one polling client", || {
        numbers(&server, "one") == [1, 0, 0, 1, 0]
    })
    .await;
    let names = || {
        let clients = clients(&server, "one").not_current.into_iter();
        clients
            .map(|it| (it.instance, it.reason))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(),
        [("127.0.0.1".to_owned(), NotCurrentReason::Polling)]
    );
    let _other = Poller::start(&server, "a");
    eventually("two polling clients", || {
        numbers(&server, "one") == [2, 0, 0, 2, 0]
    })
    .await;
    let expected = ["127.0.0.1 (1 of 2)", "127.0.0.1 (2 of 2)"];
    assert_eq!(
        names(),
        expected.map(|name| (name.to_owned(), NotCurrentReason::Polling))
    );
}

#[tokio::test]
async fn polling_client_may_be_any_expected_instance() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("1%"))]).await;
    let expected = ["1", "2", "3"].map(|id| instance("a", id));
    server.control.set_expected(expected.to_vec());
    let _poller = Poller::start(&server, "a");
    eventually("a polling client", || {
        numbers(&server, "one") == [3, 0, 0, 1, 2]
    })
    .await;
    let listed = clients(&server, "one").not_current.into_iter();
    let reasons: Vec<_> = listed.map(|it| it.reason).collect();
    assert_eq!(reasons, [NotCurrentReason::Polling]);
}

#[tokio::test]
async fn instance_without_messages_is_silent() {
    let server = TestServer::empty(ControlSettings {
        silent_after: Duration::from_millis(100),
        ..ControlSettings::default()
    })
    .await;
    server
        .control
        .publish(resolved(&[policy("one", &[("a", &[])], percent("1%"))]));
    let mut client = server.client("a", "1").await;
    client.accept_plan().await;
    eventually("silent", || numbers(&server, "one") == [1, 0, 0, 0, 1]).await;
    client.report(vec![]).await;
    eventually("current again", || {
        numbers(&server, "one") == [1, 1, 0, 0, 0]
    })
    .await;
}

#[tokio::test]
async fn unexpected_instance_is_gone_once_disconnected() {
    let server = TestServer::with(&[policy("one", &[("a", &[])], percent("1%"))]).await;
    let mut client = server.client("a", "1").await;
    client.accept_plan().await;
    eventually("current", || numbers(&server, "one") == [1, 1, 0, 0, 0]).await;
    drop(client);
    eventually("gone", || numbers(&server, "one") == [0, 0, 0, 0, 0]).await;
}

#[tokio::test]
async fn limit_for_an_operation_is_not_expressible() {
    let server = TestServer::with(&[
        policy("operation", &[("a", &["GET /"])], limit(1)),
        policy("service", &[("b", &[])], limit(1)),
        policy("beside", &[("b", &["GET /"])], percent("1%")),
        policy("apart", &[("a", &["GET /x"])], percent("1%")),
    ])
    .await;
    let is_partly = |name: &str| {
        let evidence = server.control.evidence(&key(name)).unwrap();
        evidence.services[0].is_partly_expressible
    };
    assert!(is_partly("operation"));
    assert!(is_partly("beside"));
    assert!(!is_partly("service"));
    assert!(!is_partly("apart"));
}

#[tokio::test]
async fn reader_counts_clients_once() {
    let server = TestServer::with(&[
        policy("service", &[("a", &[])], percent("1%")),
        policy("operation", &[("a", &["GET /"])], percent("2%")),
    ])
    .await;
    let instances = |evidence: Option<Evidence>| evidence.unwrap().services[0].instances;
    let mut first = server.client("a", "1").await;
    first.accept_plan().await;
    let mut reader = server.control.evidence_reader();
    assert_eq!(instances(reader.read(&key("service"))), 1);
    let mut second = server.client("a", "2").await;
    second.accept_plan().await;
    assert_eq!(instances(reader.read(&key("operation"))), 1);
    assert_eq!(instances(server.control.evidence(&key("operation"))), 2);
}

#[tokio::test]
async fn reader_lists_services_once() {
    let policies = ["a", "b"].map(|name| policy(name, &[(name, &[])], percent("1%")));
    let server = TestServer::with(&policies).await;
    let instances = |evidence: Option<Evidence>| evidence.unwrap().services[0].instances;
    let mut reader = server.control.evidence_reader();
    assert_eq!(instances(reader.read(&key("a"))), 0);
    let mut client = server.client("b", "1").await;
    client.accept_plan().await;
    // Listed again, the service would be found.
    assert_eq!(instances(reader.read(&key("b"))), 0);
    assert_eq!(instances(server.control.evidence(&key("b"))), 1);
}
