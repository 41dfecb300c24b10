//! What the role `policies` is for: a policy that is applied reaches every instance, and its
//! status says so.

use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use serde_json::{Value, json};
use spoor_testing::infrastructure;

use crate::{
    apiserver::{self, Namespace, eventually},
    follower::Follower,
    role::{
        Policies, SOON, chart,
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
async fn a_policy_reaches_every_instance_and_its_status_says_so() {
    let test = "a_policy_reaches_every_instance_and_its_status_says_so";
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
        instance.holds(Some(10_000)).await;
    }
    println!("applied, and everybody has it: {:.1?}", started.elapsed());
    let status = policy.becomes("Converged").await;
    println!("the status says so after {:.1?}", started.elapsed());
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
        instance.holds(Some(20_000)).await;
    }
    let status = policy.becomes("Converged").await;
    assert_eq!(condition(&status, "Converged")["observedGeneration"], 2);
    assert_eq!(status["effective"][0]["strategy"], "2%");
    let writes = status_writes(&namespace, mark);
    assert!((1..=2).contains(&writes), "{writes} writes for one change");

    let told = told(&namespace, &policy).await;
    assert_eq!(told, ["Accepted", "Converged", "Converged"]);

    policy.delete().await;
    for instance in &mut instances {
        instance.holds(None).await;
    }
    role.stop().await;
}

/// The reasons of the events on a policy, once there are some of its newest state.
async fn told(namespace: &Namespace<'_>, policy: &SamplingPolicy) -> Vec<String> {
    let uid = policy.get().await.unwrap()["metadata"]["uid"].clone();
    eventually("events", SOON, async || {
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
async fn an_instance_that_does_not_follow_is_named() {
    let test = "an_instance_that_does_not_follow_is_named";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-silent").await;
    let role = Policies::start(&namespace).await;
    let _current = Follower::start(&role, &namespace, "a", 0).await;
    let labels = [("app.kubernetes.io/name", "a")];
    namespace.ready_pod("a-mute", &labels, "127.0.1.99").await;

    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let status = policy
        .has("names the mute pod", |status| {
            message(status, "Converged").contains("a-mute")
        })
        .await;
    assert_eq!(condition(&status, "Converged")["status"], "Unknown");
    assert_eq!(status["clients"]["expected"], 2);

    namespace.pod_status("a-mute", "127.0.1.99", false).await;
    let status = policy.becomes("Converged").await;
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
    instance.holds(Some(500_000)).await;
    let service = SamplingPolicy::apply(&namespace, "a", "10%").await;
    instance.holds(Some(100_000)).await;
    let spec = json!({
        "priority": 1,
        "targets": [{"service": "a"}],
        "head": {"probability": "20%"},
    });
    let stronger = SamplingPolicy::apply_spec(&namespace, "stronger", spec).await;
    instance.holds(Some(200_000)).await;

    let status = service
        .has("is overridden by the winner", |status| {
            reason(status, "Accepted") == "Conflicted"
                && message(status, "Accepted").contains("stronger")
        })
        .await;
    assert_eq!(condition(&status, "Accepted")["status"], "False");
    let status = everything
        .has("is overridden in part by the winner", |status| {
            reason(status, "Accepted") == "PartiallyOverridden"
                && message(status, "Accepted").contains("stronger")
        })
        .await;
    assert_eq!(condition(&status, "Accepted")["status"], "True");
    stronger.becomes("Converged").await;

    stronger.delete().await;
    instance.holds(Some(100_000)).await;
    let status = service.becomes("Converged").await;
    assert_eq!(reason(&status, "Accepted"), "Accepted");
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_another_namespace_changes_nothing() {
    let test = "a_policy_of_another_namespace_changes_nothing";
    let Some(server) = apiserver::private(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-mine").await;
    let other = server.namespace("spoor-other").await;
    let client = chart::account_serving(&namespace, "policies", &[]).await;
    let role = Policies::start_with(client, &namespace, "policies-0", |settings| {
        settings.role.scope = spoor_operator::kubernetes::watch::Scope::All;
    })
    .await;
    let mut mine = Follower::start(&role, &namespace, "a", 0).await;
    let mut theirs = Follower::start(&role, &other, "a", 1).await;

    let policy = SamplingPolicy::apply(&other, "a", "1%").await;
    theirs.holds(Some(10_000)).await;
    let status = policy.becomes("Converged").await;
    assert_eq!(status["clients"]["expected"], 1);
    // In the order of publication: had it got the other one's, it would have got that first.
    SamplingPolicy::apply(&namespace, "a", "3%").await;
    mine.holds(Some(30_000)).await;
    assert_eq!(mine.plans(), 2);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_ends_when_it_says() {
    let test = "a_policy_ends_when_it_says";
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
    instance.holds(Some(10_000)).await;
    policy.becomes("Converged").await;

    let status = policy
        .has("has expired", |status| {
            reason(status, "Accepted") == "Expired"
        })
        .await;
    assert!(Timestamp::now() >= end);
    assert!(message(&status, "Accepted").contains(&end.to_string()));
    instance.holds(None).await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_and_nothing_is_said_in_between() {
    let test = "a_leader_that_stops_hands_over_and_nothing_is_said_in_between";
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
    policy.becomes("Converged").await;
    eventually(
        "the other one knows that it is a standby",
        SOON,
        async || {
            let answer = second.ops("readyz").await;
            answer.contains("standby").then_some(()).ok_or(answer)
        },
    )
    .await;
    assert!(second.running.endpoints().borrow().is_none());

    let mark = server.mark();
    let stopped = Instant::now();
    first.stop().await;
    second.endpoints().await;
    println!("handed over after {:.1?}", stopped.elapsed());
    assert_eq!(second.ops("readyz").await, "ok\n");
    let mut after = Follower::connect(&second, &namespace, "a", &before.pod).await;
    after.holds(Some(10_000)).await;
    eventually("the new leader has seen the instance", SOON, async || {
        let current = second
            .count("spoor_control_acknowledgements_total", "")
            .await;
        (current > 0).then_some(()).ok_or(format!("{current}"))
    })
    .await;
    let status = policy.becomes("Converged").await;
    assert_eq!(status["clients"]["current"], 1);
    assert_eq!(status_writes(&namespace, mark), 0);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_nobody_leads_is_in_force_when_somebody_does() {
    let test = "what_changes_while_nobody_leads_is_in_force_when_somebody_does";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-restart").await;
    let role = Policies::start(&namespace).await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let gone = SamplingPolicy::apply(&namespace, "b", "1%").await;
    let before = Follower::start(&role, &namespace, "a", 0).await;
    policy.becomes("Converged").await;
    role.stop().await;

    policy.patch("2%").await;
    gone.delete().await;
    let account = chart::account_name(&namespace.name, "policies");
    let client = namespace.client_as(&account).await;
    let role = Policies::start_as(client, &namespace, "policies-0").await;
    let mut after = Follower::connect(&role, &namespace, "a", &before.pod).await;
    after.holds(Some(20_000)).await;
    let status = policy.becomes("Converged").await;
    assert_eq!(condition(&status, "Converged")["observedGeneration"], 2);
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_rules_are_programmed_when_a_stack_has_them() {
    let test = "tail_rules_are_programmed_when_a_stack_has_them";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-tail").await;
    let role = Policies::start(&namespace).await;
    let spec = json!({
        "targets": [{"service": "a"}],
        "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"},
    });
    let policy = SamplingPolicy::apply_spec(&namespace, "rules", spec).await;
    let programmed = |expected: &'static str| {
        let policy = policy.clone();
        async move {
            policy
                .has(expected, |status| reason(status, "Programmed") == expected)
                .await
        }
    };
    programmed("NoTracingStack").await;
    let stack = Stack(&namespace);
    stack.apply("Direct").await;
    programmed("RouteIsDirect").await;
    stack.apply("Collector").await;
    stack.says("Collector", "0").await;
    programmed("RollingOut").await;
    let key = spoor_policy::Namespace::new(&namespace.name).unwrap();
    stack.says("Collector", &digest(&policy, &key).await).await;
    let status = programmed("Programmed").await;
    assert_eq!(condition(&status, "Programmed")["status"], "True");
    role.stop().await;
}

/// The digest of this policy's rules, if it is the only one.
async fn digest(policy: &SamplingPolicy, namespace: &spoor_policy::Namespace) -> String {
    let object = policy.get().await.unwrap();
    let metadata = spoor_api::Metadata {
        namespace: Some(namespace.to_string()),
        ..spoor_api::Metadata::named("rules")
    };
    let spec = serde_json::from_value(object["spec"].clone()).unwrap();
    let policy = spoor_api::SamplingPolicy::new(metadata, spec);
    let policy = policy.validate(Timestamp::UNIX_EPOCH).unwrap();
    let resolution = spoor_policy::resolve(&[policy], Timestamp::now());
    resolution.tail.digest(namespace).to_string()
}

/// A stack whose other role is this test.
struct Stack<'a>(&'a Namespace<'a>);

impl Stack<'_> {
    async fn apply(&self, route: &str) {
        let object = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "TracingStack",
            "metadata": {"name": "tracing"},
            "spec": {"route": route},
        });
        self.0.apply(object).await.unwrap();
    }

    async fn says(&self, route: &str, digest: &str) {
        let resource = spoor_operator::kubernetes::resources::tracing_stacks();
        let api: kube::Api<kube::api::DynamicObject> =
            kube::Api::namespaced_with(self.0.client.clone(), &self.0.name, &resource);
        let status = json!({"status": {"route": route, "tail": {"digest": digest, "policies": 1}}});
        let parameters = kube::api::PatchParams::default();
        let patch = kube::api::Patch::Merge(status);
        api.patch_status("tracing", &parameters, &patch)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_somebody_edits_is_put_right() {
    let test = "a_status_that_somebody_edits_is_put_right";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-edited").await;
    let role = Policies::start(&namespace).await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let before = policy
        .has("is accepted", |status| {
            reason(status, "Accepted") == "Accepted"
        })
        .await;
    let forged = json!({"apiVersion": "spoor.dev/v1alpha1", "kind": "SamplingPolicy", "status": {
        "effective": [{"service": "a", "strategy": "100%"}],
    }});
    policy.apply_status(forged, "somebody").await;
    policy
        .has("is as before", |status| {
            status["effective"] == before["effective"]
        })
        .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_close_with_the_role() {
    let test = "the_doors_close_with_the_role";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-close").await;
    let role = Policies::start(&namespace).await;
    let endpoints = role.endpoints().await;
    let started = Instant::now();
    role.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5));
    for endpoint in [
        endpoints.http,
        endpoints.grpc,
        endpoints.stream,
        endpoints.metrics,
    ] {
        assert!(tokio::net::TcpStream::connect(endpoint).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_explain_themselves() {
    let test = "ports_explain_themselves";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-introspection").await;
    let role = Policies::start(&namespace).await;
    let endpoints = role.endpoints().await;
    for address in [endpoints.http, endpoints.grpc] {
        let service = "jaeger.api_v2.SamplingManager";
        infrastructure::assert_healthy(address, service).await;
        infrastructure::assert_listed(address, service).await;
    }
    for (address, path, hint) in [
        (endpoints.http, "v1/traces", "STACK-otlp"),
        (endpoints.grpc, "api/traces", "STACK-query"),
        (endpoints.metrics, "sampling", "5778"),
        (endpoints.metrics, "v1/traces", "STACK-otlp"),
    ] {
        let answer = reqwest::get(format!("http://{address}/{path}"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        assert!(answer.text().await.unwrap().contains(hint));
    }
    role.stop().await;
}
