//! The purpose of the role `policies`: an applied policy reaches every instance, and its status
//! proves it.

mod leaders;
mod listeners;
mod samplers;
mod tail;

use std::time::Instant;

use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::{
    apiserver::{self, Namespace, eventually},
    follower::Follower,
    role::{
        MAX_WAIT, Policies, chart,
        sampling_policy::{SamplingPolicy, condition},
    },
};

/// The writes to policies' status since a mark.
fn status_writes(namespace: &Namespace<'_>, since: apiserver::Mark) -> usize {
    let account = chart::account_name(&namespace.name, "policies");
    let calls = namespace.server.calls_of(&namespace.name, &account, since);
    let writes = calls
        .iter()
        .filter(|call| call.resource_of_rule() == "samplingpolicies/status");
    writes.count()
}

fn reason<'a>(status: &'a Value, kind: &str) -> &'a str {
    condition(status, kind)["reason"].as_str().unwrap_or("")
}

fn message<'a>(status: &'a Value, kind: &str) -> &'a str {
    condition(status, kind)["message"].as_str().unwrap_or("")
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_reaches_every_instance_and_converges() {
    let test = "policy_reaches_every_instance_and_converges";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-main").await;
    let role = Policies::start(&namespace).await;
    let mut instances = vec![];
    for number in 0..3 {
        instances.push(Follower::start(&role, &namespace, "a", number).await);
    }

    let mark = server.mark();
    let started = Instant::now();
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    for instance in &mut instances {
        instance.wait_for_plan(Some(10_000)).await;
    }
    println!("in force everywhere after {:.1?}", started.elapsed());
    let status = policy.wait_for_condition("Converged").await;
    println!("converged after {:.1?}", started.elapsed());
    assert_eq!(condition(&status, "Converged")["observedGeneration"], 1);
    assert_eq!(status["clients"]["expected"], 3);
    assert_eq!(status["clients"]["current"], 3);
    assert_eq!(
        status["effective"],
        json!([{"service": "a", "strategy": "1%"}])
    );
    assert_eq!(reason(&status, "Accepted"), "Accepted");
    assert_eq!(reason(&status, "Programmed"), "Programmed");
    let writes = status_writes(&namespace, mark);
    assert!((1..=2).contains(&writes), "{writes} writes for one change");

    let mark = server.mark();
    policy.patch("2%").await;
    for instance in &mut instances {
        instance.wait_for_plan(Some(20_000)).await;
    }
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(condition(&status, "Converged")["observedGeneration"], 2);
    assert_eq!(status["effective"][0]["strategy"], "2%");
    let writes = status_writes(&namespace, mark);
    assert!((1..=2).contains(&writes), "{writes} writes for one change");

    let events = event_reasons(&namespace, &policy).await;
    assert_eq!(events, ["Accepted", "Converged", "Converged"]);

    policy.delete().await;
    for instance in &mut instances {
        instance.wait_for_plan(None).await;
    }
    role.stop().await;
}

/// The reasons of the events on a policy, once there are at least three.
async fn event_reasons(namespace: &Namespace<'_>, policy: &SamplingPolicy) -> Vec<String> {
    let uid = policy.get().await.unwrap()["metadata"]["uid"].clone();
    eventually("events", MAX_WAIT, async || {
        let events = namespace.api::<Event>().list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?;
        let about = events.items.into_iter().filter(|event| {
            let regarding = event.regarding.as_ref();
            regarding.is_some_and(|it| it.uid.as_deref() == uid.as_str())
        });
        let mut reasons: Vec<String> = about.filter_map(|event| event.reason).collect();
        reasons.sort();
        match reasons.len() {
            3.. => Ok(reasons),
            _ => Err(format!("{reasons:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_without_the_plan_is_named() {
    let test = "instance_without_the_plan_is_named";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-silent").await;
    let role = Policies::start(&namespace).await;
    let _current = Follower::start(&role, &namespace, "a", 0).await;
    let labels = [("app.kubernetes.io/name", "a")];
    namespace
        .ready_pod("a-without-plan", &labels, "127.0.1.99")
        .await;

    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let status = policy
        .wait_for("names the pod without the plan", |status| {
            message(status, "Converged").contains("a-without-plan")
        })
        .await;
    assert_eq!(condition(&status, "Converged")["status"], "Unknown");
    assert_eq!(status["clients"]["expected"], 2);

    namespace
        .pod_status("a-without-plan", "127.0.1.99", false)
        .await;
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(status["clients"]["expected"], 1);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_name_the_winners() {
    let test = "conditions_name_the_winners";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-precedence").await;
    let role = Policies::start(&namespace).await;
    let mut instance = Follower::start(&role, &namespace, "a", 0).await;
    let head = json!({"probability": "50%"});
    let everything =
        SamplingPolicy::apply_spec(&namespace, "everything", json!({"head": head})).await;
    instance.wait_for_plan(Some(500_000)).await;
    let service = SamplingPolicy::apply(&namespace, "a", "10%").await;
    instance.wait_for_plan(Some(100_000)).await;
    let spec = json!({
        "priority": 1,
        "targets": [{"service": "a"}],
        "head": {"probability": "20%"},
    });
    let stronger = SamplingPolicy::apply_spec(&namespace, "stronger", spec).await;
    instance.wait_for_plan(Some(200_000)).await;

    let status = service
        .wait_for("is overridden by the winner", |status| {
            reason(status, "Accepted") == "Conflicted"
                && message(status, "Accepted").contains("stronger")
        })
        .await;
    assert_eq!(condition(&status, "Accepted")["status"], "False");
    let status = everything
        .wait_for("is overridden in part by the winner", |status| {
            reason(status, "Accepted") == "PartiallyOverridden"
                && message(status, "Accepted").contains("stronger")
        })
        .await;
    assert_eq!(condition(&status, "Accepted")["status"], "True");
    stronger.wait_for_condition("Converged").await;

    stronger.delete().await;
    instance.wait_for_plan(Some(100_000)).await;
    let status = service.wait_for_condition("Converged").await;
    assert_eq!(reason(&status, "Accepted"), "Accepted");
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_of_another_namespace_has_no_effect() {
    let test = "policy_of_another_namespace_has_no_effect";
    let Some(server) = apiserver::private(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-mine").await;
    let other = server.namespace("spoor-other").await;
    let client = chart::account_serving(&namespace, "policies", &[]).await;
    let role = Policies::start_with(client, &namespace, "policies-0", |settings| {
        settings.role.scope = spoor_operator::kubernetes::watch::WatchScope::All;
    })
    .await;
    let mut mine = Follower::start(&role, &namespace, "a", 0).await;
    let mut theirs = Follower::start(&role, &other, "a", 1).await;

    let policy = SamplingPolicy::apply(&other, "a", "1%").await;
    theirs.wait_for_plan(Some(10_000)).await;
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(status["clients"]["expected"], 1);
    // Plans arrive in the order of publication, so the other namespace's plan would have arrived
    // first.
    SamplingPolicy::apply(&namespace, "a", "3%").await;
    mine.wait_for_plan(Some(30_000)).await;
    assert_eq!(mine.plans(), 2);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_policy_reverts() {
    let test = "expired_policy_reverts";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-expiry").await;
    let role = Policies::start(&namespace).await;
    let mut instance = Follower::start(&role, &namespace, "a", 0).await;
    let end = Timestamp::now() + 4.seconds();
    let spec = json!({
        "targets": [{"service": "a"}],
        "head": {"probability": "1%"},
        "expiresAt": end.to_string(),
    });
    let policy = SamplingPolicy::apply_spec(&namespace, "brief", spec).await;
    instance.wait_for_plan(Some(10_000)).await;
    policy.wait_for_condition("Converged").await;

    let status = policy
        .wait_for("has expired", |status| {
            reason(status, "Accepted") == "Expired"
        })
        .await;
    assert!(Timestamp::now() >= end);
    assert!(message(&status, "Accepted").contains(&end.to_string()));
    instance.wait_for_plan(None).await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_status_is_restored() {
    let test = "edited_status_is_restored";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-edited").await;
    let role = Policies::start(&namespace).await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let before = policy
        .wait_for("is accepted", |status| {
            reason(status, "Accepted") == "Accepted"
        })
        .await;
    let forged = json!({"apiVersion": "spoor.dev/v1alpha1", "kind": "SamplingPolicy", "status": {
        "effective": [{"service": "a", "strategy": "100%"}],
    }});
    policy.apply_status(forged, "somebody").await;
    policy
        .wait_for("is as before", |status| {
            status["effective"] == before["effective"]
        })
        .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_role_leaves_statuses_alone() {
    let Some(server) = apiserver::shared("stopped_role_leaves_statuses_alone").await else {
        return;
    };
    let namespace = server.namespace("spoor-stopped").await;
    let role = Policies::start(&namespace).await;
    let _instance = Follower::start(&role, &namespace, "a", 0).await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let before = policy.wait_for_condition("Converged").await;
    role.stop().await;
    // An update stops the role as an uninstallation does. Clients keep their plans meanwhile, so
    // a status that reported otherwise would be wrong at every update.
    let after = policy.get().await.unwrap();
    let converged = condition(&after["status"], "Converged");
    assert_eq!(converged, condition(&before, "Converged"));
}
