//! The rings of stacks, which the stream of tail rules also carries.

use std::sync::Arc;

use spoor_control::ControlSettings;
use spoor_policy::Namespace;
use spoor_proto::spoor::{
    control::v1::{self as proto, sampler_message::Message},
    sampler::v1::Rings,
};

use super::{ByToken, sampler_of, samplers};
use crate::support::{
    TestServer, eventually, resolved,
    sampler::{hello, tail},
};

fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings {
        generation,
        members: members.to_vec(),
    }
}

/// Sets the rings of these stacks in the namespace `default`, and of no others.
fn set_rings(server: &TestServer, stacks: &[(&str, Rings)]) {
    let rings = stacks.iter().map(|(stack, rings)| {
        let key = (Namespace::default(), (*stack).to_owned());
        (key, rings.clone())
    });
    server.control.set_rings(rings.collect());
}

#[tokio::test]
async fn rings_come_before_rules_and_on_change() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    set_rings(&server, &[("tracing", rings(1, &[1]))]);
    let mut sampler = server.sampler("sampler-0").await;
    assert_eq!(sampler.rings().await, rings(1, &[1]));
    let rules = sampler.accept_rules().await;
    set_rings(&server, &[("tracing", rings(2, &[1, 3]))]);
    assert_eq!(sampler.rings().await, rings(2, &[1, 3]));
    drop(sampler);

    // Rules that a sampler holds are not sent again, but rings are.
    let held = Message::Hello(proto::SamplerHello {
        held: rules.version,
        held_digest: rules.digest,
        ..hello("sampler-0", "start-2")
    });
    let mut sampler = server.sampler_with("", held).await.unwrap();
    assert_eq!(sampler.rings().await, rings(2, &[1, 3]));
    set_rings(&server, &[("tracing", rings(3, &[3]))]);
    assert_eq!(sampler.rings().await, rings(3, &[3]));
    for line in [
        "spoor_control_ring_pushes_total 4",
        "spoor_control_tail_pushes_total 1",
    ] {
        server.wait_for_metric(line).await;
    }
}

/// A sampler learns of rings even while no policies are published.
#[tokio::test]
async fn rings_need_no_publication() {
    let server = TestServer::empty(ControlSettings::default()).await;
    let mut first = server.sampler("sampler-0").await;
    eventually("a sampler", || !samplers(&server).is_empty()).await;
    set_rings(&server, &[("tracing", rings(1, &[2]))]);
    assert_eq!(first.rings().await, rings(1, &[2]));
    let mut second = server.sampler("sampler-1").await;
    assert_eq!(second.rings().await, rings(1, &[2]));
    server.control.publish(resolved(&[]));
    assert_eq!(first.rules().await.policies, []);
}

#[tokio::test]
async fn equal_rings_are_not_sent_again() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    set_rings(&server, &[("tracing", rings(1, &[1]))]);
    let mut sampler = server.sampler("sampler-0").await;
    sampler.rings().await;
    sampler.rules().await;
    set_rings(&server, &[("tracing", rings(1, &[1]))]);
    let of_other = ("other", rings(2, &[1, 3]));
    set_rings(&server, &[("tracing", rings(1, &[1])), of_other]);
    // Rings would come first.
    server.control.publish(resolved(&[]));
    assert_eq!(sampler.rules().await.policies, []);
    server
        .wait_for_metric("spoor_control_ring_pushes_total 1")
        .await;
}

#[tokio::test]
async fn stack_without_rings_gets_none() {
    let server = TestServer::with(&[tail("one", "a", "10%")]).await;
    let stacks = [("other", rings(1, &[2])), ("tracing", rings(2, &[3]))];
    set_rings(&server, &stacks);
    let mut sampler = server.sampler("sampler-0").await;
    assert_eq!(sampler.rings().await, rings(2, &[3]));
    sampler.rules().await;
    // As after the stack was deleted: a later one of the same name begins with rings of its own.
    set_rings(&server, &stacks[..1]);
    let mut later = server.sampler("sampler-1").await;
    later.rules().await;
    let of_other = Message::Hello(proto::SamplerHello {
        stack: "other".to_owned(),
        ..hello("sampler-2", "start-1")
    });
    let mut of_other = server.sampler_with("", of_other).await.unwrap();
    assert_eq!(of_other.rings().await, rings(1, &[2]));
    of_other.rules().await;
    server.control.publish(resolved(&[]));
    for sampler in [&mut sampler, &mut later, &mut of_other] {
        assert_eq!(sampler.rules().await.policies, []);
    }
}

#[tokio::test]
async fn rings_are_separate_by_namespace() {
    let server = TestServer::empty(ControlSettings {
        identify: Arc::new(ByToken),
        ..ControlSettings::default()
    })
    .await;
    server.control.publish(resolved(&[]));
    let set = |west: Rings| {
        let rings = [("east", rings(1, &[1])), ("west", west)];
        let rings = rings.map(|(namespace, rings)| {
            let namespace: Namespace = namespace.parse().unwrap();
            ((namespace, "tracing".to_owned()), rings)
        });
        server.control.set_rings(rings.into());
    };
    set(rings(2, &[2]));
    let mut east = sampler_of(&server, "east").await;
    let mut west = sampler_of(&server, "west").await;
    assert_eq!(east.rings().await, rings(1, &[1]));
    assert_eq!(west.rings().await, rings(2, &[2]));
    assert_eq!(east.rules().await.namespace, "east");
    assert_eq!(west.rules().await.namespace, "west");
    set(rings(3, &[2, 4]));
    assert_eq!(west.rings().await, rings(3, &[2, 4]));
}
