//! Changes of the leader.

use std::time::Instant;

use super::status_writes;
use crate::{
    apiserver::{self, eventually},
    follower::Follower,
    role::{
        MAX_WAIT, Policies, chart,
        sampling_policy::{SamplingPolicy, condition},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn handover_leaves_status_unchanged() {
    let test = "handover_leaves_status_unchanged";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-handover").await;
    let first = Policies::start(&namespace).await;
    let account = chart::account_name(&namespace.name, "policies");
    let client = namespace.client_as(&account).await;
    let second = Policies::start_as(client, &namespace, "policies-1").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let before = Follower::start(&first, &namespace, "a", 0).await;
    policy.wait_for_condition("Converged").await;
    eventually("the second replica is a standby", MAX_WAIT, async || {
        let response = second.ops("readyz").await;
        response.contains("standby").then_some(()).ok_or(response)
    })
    .await;
    assert!(second.running.endpoints.borrow().is_none());

    let mark = server.mark();
    let stopped = Instant::now();
    first.stop().await;
    second.endpoints().await;
    println!("handed over after {:.1?}", stopped.elapsed());
    assert_eq!(second.ops("readyz").await, "ok\n");
    let mut after = Follower::connect(&second, &namespace, "a", &before.pod).await;
    after.wait_for_plan(Some(10_000)).await;
    eventually(
        "the new leader has the instance's acknowledgement",
        MAX_WAIT,
        async || {
            let current = second
                .count("spoor_control_acknowledgements_total", "")
                .await;
            (current > 0).then_some(()).ok_or(format!("{current}"))
        },
    )
    .await;
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(status["clients"]["current"], 1);
    assert_eq!(status_writes(&namespace, mark), 0);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_a_leader_apply_later() {
    let test = "changes_without_a_leader_apply_later";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-restart").await;
    let role = Policies::start(&namespace).await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let gone = SamplingPolicy::apply(&namespace, "b", "1%").await;
    let before = Follower::start(&role, &namespace, "a", 0).await;
    policy.wait_for_condition("Converged").await;
    role.stop().await;

    policy.patch("2%").await;
    gone.delete().await;
    let account = chart::account_name(&namespace.name, "policies");
    let client = namespace.client_as(&account).await;
    let role = Policies::start_as(client, &namespace, "policies-0").await;
    let mut after = Follower::connect(&role, &namespace, "a", &before.pod).await;
    after.wait_for_plan(Some(20_000)).await;
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(condition(&status, "Converged")["observedGeneration"], 2);
    role.stop().await;
}
