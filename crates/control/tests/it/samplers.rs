//! The stream of tail rules to samplers.

mod bounds;
mod counts;
mod rings;

use std::{
    future::{Future, ready},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
};

use spoor_control::{
    AnyoneOnLoopback, Caller, ControlSettings, Denied, Identify, Identity, SamplerCaller,
    SamplerIdentity, SamplerState,
};
use spoor_policy::{Namespace, ServiceName};
use spoor_proto::spoor::control::v1::{
    self as proto, sampler_message::Message, tail_rule::Condition,
};
use tonic::Code;

use crate::support::{
    TestServer, eventually, percent, resolved,
    sampler::{Sampler, head, hello, tail, tail_in},
};

fn samplers(server: &TestServer) -> Vec<SamplerState> {
    server.control.samplers(&Namespace::default())
}

/// Waits until the only sampler has acknowledged the current rules.
async fn current(server: &TestServer) -> SamplerState {
    eventually("the sampler is current", || {
        samplers(server).iter().any(|it| it.current)
    })
    .await;
    samplers(server).remove(0)
}

#[tokio::test]
async fn rules_are_pushed_at_once_and_on_change() {
    let server =
        TestServer::with(&[tail("one", "a", "10%"), head("two", "a", percent("50%"))]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let first = sampler.rules().await;
    assert_eq!(first.namespace, "default");
    assert_eq!(first.policies.len(), 1);
    let policy = &first.policies[0];
    assert_eq!(
        (&*policy.name, policy.otherwise_millionths),
        ("one", 100_000)
    );
    let place = (&*policy.places[0].service, &*policy.places[0].operation);
    assert_eq!((place, policy.places.len()), (("a", ""), 1));
    assert_eq!((&*policy.rules[0].name, policy.rules.len()), ("errors", 1));
    let condition = policy.rules[0].condition.as_ref();
    assert!(matches!(condition, Some(Condition::Error(_))));
    assert!(!samplers(&server)[0].current);

    let published = server.control.publish(resolved(&[tail("one", "a", "20%")]));
    let second = sampler.accept_rules().await;
    assert_eq!(second.policies[0].otherwise_millionths, 200_000);
    assert_eq!(second.version.unwrap().sequence, published.sequence);
    assert_ne!(first.digest, second.digest);
    let state = current(&server).await;
    assert_eq!((&*state.stack, &*state.instance), ("tracing", "sampler-0"));
    assert_eq!((state.connected, state.held), (true, Some(published)));
    for line in [
        "spoor_control_samplers 1",
        "spoor_control_tail_pushes_total 2",
        "spoor_control_tail_acknowledgements_total 1",
    ] {
        server.wait_for_metric(line).await;
    }
}

#[tokio::test]
async fn equal_rules_are_not_pushed_again() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let rules = sampler.accept_rules().await;
    current(&server).await;
    let head = head("two", "a", percent("50%"));
    server
        .control
        .publish(resolved(&[tail("one", "a", "10%"), head]));
    let state = samplers(&server).remove(0);
    assert!(state.current);
    assert_eq!(
        state.held.map(|held| held.sequence),
        rules.version.map(|version| version.sequence)
    );
    let changed = server.control.publish(resolved(&[]));
    let next = sampler.rules().await;
    assert_eq!(next.version.unwrap().sequence, changed.sequence);
    assert_eq!(next.policies, []);
    server
        .wait_for_metric("spoor_control_tail_pushes_total 2")
        .await;
}

#[tokio::test]
async fn no_rules_before_the_first_publication() {
    let server = TestServer::empty(ControlSettings::default()).await;
    let mut sampler = server.sampler("sampler-0").await;
    server.wait_for_metric("spoor_control_samplers 1").await;
    assert!(!samplers(&server)[0].current);
    server.control.publish(resolved(&[]));
    let rules = sampler.rules().await;
    assert_eq!(
        (rules.version.unwrap().sequence, rules.policies),
        (1, vec![])
    );
}

#[tokio::test]
async fn refusal_is_kept_until_later_rules() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let version = sampler.rules().await.version;
    let reason = format!("UnknownCondition{}", "x".repeat(10_000));
    let refusal = proto::Refusal { version, reason };
    sampler.send(Message::Refusal(refusal)).await;
    eventually("a refusal", || {
        samplers(&server).iter().any(|it| it.refused.is_some())
    })
    .await;
    let state = samplers(&server).remove(0);
    let refused = state.refused.unwrap();
    assert!(refused.reason.starts_with("UnknownCondition"));
    assert!(refused.reason.len() <= 256, "{}", refused.reason.len());
    assert!(!state.current && state.refuses_current);
    server
        .wait_for_metric(r#"spoor_control_tail_refusals_total{reason="Other"} 1"#)
        .await;
    server.control.publish(resolved(&[]));
    let state = samplers(&server).remove(0);
    assert!(state.refused.is_some() && !state.refuses_current);
    sampler.accept_rules().await;
    assert_eq!(current(&server).await.refused, None);
}

#[tokio::test]
async fn held_rules_count_as_acknowledged() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut sampler = server.sampler("sampler-0").await;
    let rules = sampler.rules().await;
    drop(sampler);
    let held = |version: Option<proto::Version>, held_digest: &[u8]| {
        Message::Hello(proto::SamplerHello {
            held: version,
            held_digest: held_digest.to_vec(),
            ..hello("sampler-0", "start-2")
        })
    };
    let same = held(rules.version, &rules.digest);
    let sampler = server.sampler_with("", same).await.unwrap();
    assert!(current(&server).await.connected);
    drop(sampler);

    // A control plane that was restarted sends its own version, since samplers count by it.
    let mut earlier = rules.version.unwrap();
    earlier.epoch -= 1;
    let same = held(Some(earlier), &rules.digest);
    let mut sampler = server.sampler_with("", same).await.unwrap();
    assert_eq!(sampler.rules().await, rules);
    assert!(samplers(&server)[0].current);
    // The first stream and this one; not the one in between.
    server
        .wait_for_metric("spoor_control_tail_pushes_total 2")
        .await;

    // A process without the rules has to acknowledge them, although the one before had.
    let other = Message::Hello(hello("sampler-0", "start-3"));
    let mut sampler = server.sampler_with("", other).await.unwrap();
    assert_eq!(sampler.rules().await, rules);
    assert!(!samplers(&server)[0].current);
}

#[tokio::test]
async fn newer_stream_replaces_the_older() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let mut first = server.sampler("sampler-0").await;
    first.rules().await;
    let mut second = server.sampler("sampler-0").await;
    second.rules().await;
    first.report(vec![]).await;
    assert_eq!(first.end().await.unwrap_err().code(), Code::Aborted);
    server.wait_for_metric("spoor_control_samplers 1").await;
    let states = samplers(&server);
    assert_eq!(states.len(), 1);
    assert!(states[0].connected);
}

/// The token of a sampler is its namespace.
struct ByToken;

impl Identify for ByToken {
    fn stream<'a>(
        &'a self,
        _: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>> {
        Box::pin(ready(Err(Denied::TokenMissing)))
    }

    fn polling(&self, _: Option<IpAddr>, _: &ServiceName) -> Result<Namespace, Denied> {
        Err(Denied::UnknownPeer)
    }

    fn reporting(&self, _: Option<IpAddr>) -> Result<Namespace, Denied> {
        Err(Denied::NotACollector)
    }

    fn sampler<'a>(
        &'a self,
        caller: SamplerCaller,
    ) -> Pin<Box<dyn Future<Output = Result<SamplerIdentity, Denied>> + Send + 'a>> {
        let token = caller.metadata.get("authorization");
        let namespace = token.and_then(|it| it.to_str().unwrap().strip_prefix("Bearer "));
        let identity = match namespace {
            Some(namespace) => Ok(SamplerIdentity {
                namespace: namespace.parse().unwrap(),
                stack: caller.stack,
                instance: caller.instance,
            }),
            None => Err(Denied::NotASampler),
        };
        Box::pin(ready(identity))
    }
}

async fn sampler_of(server: &TestServer, namespace: &str) -> Sampler {
    let first = Message::Hello(hello("sampler-0", "start-1"));
    server.sampler_with(namespace, first).await.unwrap()
}

#[tokio::test]
async fn namespaces_are_separate() {
    let server = TestServer::empty(ControlSettings {
        identify: Arc::new(ByToken),
        ..ControlSettings::default()
    })
    .await;
    let policies = |otherwise: &str| {
        resolved(&[
            tail_in("east", "one", "a", "10%"),
            tail_in("west", "one", "a", otherwise),
        ])
    };
    server.control.publish(policies("20%"));
    let mut east = sampler_of(&server, "east").await;
    let mut west = sampler_of(&server, "west").await;
    let of_east = east.accept_rules().await;
    assert_eq!(of_east.policies[0].otherwise_millionths, 100_000);
    assert_eq!(west.rules().await.policies[0].otherwise_millionths, 200_000);
    server.control.publish(policies("30%"));
    assert_eq!(west.rules().await.policies[0].otherwise_millionths, 300_000);
    let states = |namespace: &str| server.control.samplers(&namespace.parse().unwrap());
    eventually("the sampler in east is current", || {
        states("east")[0].current
    })
    .await;
    assert!(!states("west")[0].current);
    assert_eq!(states("default"), []);
    server
        .wait_for_metric("spoor_control_tail_pushes_total 3")
        .await;
}

#[tokio::test]
async fn other_clients_are_denied() {
    let server = TestServer::empty(ControlSettings {
        identify: Arc::new(ByToken),
        ..ControlSettings::default()
    })
    .await;
    let first = Message::Hello(hello("sampler-0", "start-1"));
    let mut denied = server.sampler_with("", first).await.unwrap();
    let status = denied.end().await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(
        status.message(),
        "only the sampler of a TracingStack may subscribe to tail rules"
    );
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="TailRuleStream",reason="NotASampler"} 1"#,
        )
        .await;
}

#[tokio::test]
async fn only_samplers_on_loopback_are_trusted() {
    let caller = |peer: Option<&str>| SamplerCaller {
        metadata: Default::default(),
        peer: peer.map(|peer| peer.parse().unwrap()),
        stack: "tracing".to_owned(),
        instance: "sampler-0".to_owned(),
    };
    for peer in ["127.0.0.1", "::1"] {
        let identity = AnyoneOnLoopback.sampler(caller(Some(peer))).await.unwrap();
        assert_eq!(identity.namespace, Namespace::default());
        assert_eq!(
            (&*identity.stack, &*identity.instance),
            ("tracing", "sampler-0")
        );
    }
    for peer in [Some("192.0.2.1"), None] {
        let denied = AnyoneOnLoopback.sampler(caller(peer)).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
}
