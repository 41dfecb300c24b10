//! One operator for each namespace: a second one is refused, and both name each other.

use k8s_openapi::api::{apps::v1::Deployment, events::v1::Event};
use kube::api::ListParams;
use serde_json::{Value, json};
use spoor_operator::{kubernetes::watch::WatchScope, settings::RoleSettings};

use crate::{
    apiserver::{self, Mark, Namespace, eventually},
    role::{
        MAX_WAIT, Policies, chart,
        sampling_policy::{SamplingPolicy, condition},
    },
    stacks::{Stacks, has_condition, until},
};

/// Makes an installation serve these namespaces.
fn serving(namespaces: &[&Namespace<'_>]) -> impl FnOnce(&mut RoleSettings) {
    let names = namespaces.iter().map(|namespace| namespace.name.clone());
    let scope = WatchScope::Only(names.collect());
    move |role| role.scope = scope
}

/// Grants a role of an installation all permissions in other namespaces, so that it is the claim
/// and not a missing permission that keeps the second installation away.
async fn allow(installed: &Namespace<'_>, role: &str, namespaces: &[&Namespace<'_>]) {
    let account = chart::account_name(&installed.name, role);
    for namespace in namespaces {
        let binding = binding("RoleBinding", &installed.name, &account);
        namespace.apply(binding).await.unwrap();
    }
}

fn binding(kind: &str, namespace: &str, account: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": format!("{account}-anything")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
}

/// The namespaces of two installations.
async fn namespaces(test: &str) -> Option<[Namespace<'static>; 2]> {
    let server = apiserver::shared(test).await?;
    Some([
        server.namespace("spoor-one").await,
        server.namespace("spoor-two").await,
    ])
}

fn identity(namespace: &Namespace<'_>) -> String {
    format!("{}/spoor", namespace.name)
}

/// Checks that the status and the event name both installations, and that the second one's
/// readiness names the first one.
async fn assert_second_is_refused(
    [one, two]: [&Namespace<'_>; 2],
    status: &Value,
    readiness: &str,
) {
    let message = condition(status, "Contested")["message"].as_str().unwrap();
    let refused = notes(one, "ServedByAnotherOperator").await;
    for name in [identity(one), identity(two)] {
        assert!(message.contains(&name), "{message}");
        assert!(refused[0].contains(&name), "{refused:?}");
    }
    assert!(readiness.contains(&identity(one)), "{readiness}");
}

/// The notes of the events with this reason, once there is one.
async fn notes(namespace: &Namespace<'_>, reason: &str) -> Vec<String> {
    eventually(reason, MAX_WAIT, async || {
        let events = namespace.api::<Event>().list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?;
        let about = events
            .items
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some(reason));
        let notes: Vec<String> = about.filter_map(|event| event.note).collect();
        match notes.is_empty() {
            false => Ok(notes),
            true => Err("none".to_owned()),
        }
    })
    .await
}

/// The writes of an installation's role since a mark, except to Leases.
fn writes(installed: &Namespace<'_>, role: &str, mark: Mark) -> Vec<String> {
    let account = chart::account_name(&installed.name, role);
    let calls = installed.server.calls_of(&installed.name, &account, mark);
    let writes = calls
        .iter()
        .filter(|call| call.is_write() && call.resource != "leases");
    writes
        .map(|call| format!("{} {} {}", call.verb, call.resource, call.name))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn second_stacks_operator_is_refused_and_named() {
    let test = "second_stacks_operator_is_refused_and_named";
    let Some([one, two]) = namespaces(test).await else {
        return;
    };
    let first = Stacks::start(&one).await;
    first.apply("tracing", json!({})).await;
    until("the stack's objects", async || {
        first.exists::<Deployment>("tracing-decide").await
    })
    .await;
    first.run_pods().await;
    first
        .wait_for_status("tracing", |status| {
            has_condition(status, "Progressing", "False")
        })
        .await;
    let mark = one.server.mark();
    allow(&two, "stacks", &[&one]).await;
    let second = Stacks::start_with(&two, |settings| serving(&[&one])(&mut settings.role)).await;

    let status = first
        .wait_for_status("tracing", |status| {
            has_condition(status, "Contested", "True")
        })
        .await;
    assert_second_is_refused([&one, &two], &status, &second.ops("readyz").await).await;
    let contested = notes(&one, "AnotherOperator").await;
    assert!(contested[0].contains(&identity(&two)), "{contested:?}");
    let by_second = writes(&two, "stacks", mark);
    let is_harmless =
        |write: &String| write.starts_with("create events") || write.contains("secrets");
    assert!(by_second.iter().all(is_harmless), "{by_second:?}");

    // The namespace is no longer contested.
    second.stop().await;
    first
        .wait_for_status("tracing", |status| condition(status, "Contested").is_null())
        .await;
    // When the first installation is gone, the second one takes over.
    first.stop().await;
    let mark = one.server.mark();
    let second = Stacks::start_with(&two, |settings| serving(&[&one])(&mut settings.role)).await;
    until("the second installation serves", async || {
        second.ops("readyz").await == "ok\n" && !writes(&two, "stacks", mark).is_empty()
    })
    .await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_policies_operator_is_refused_and_named() {
    let test = "second_policies_operator_is_refused_and_named";
    let Some([one, two]) = namespaces(test).await else {
        return;
    };
    let first = Policies::start(&one).await;
    let policy = SamplingPolicy::apply(&one, "a", "1%").await;
    policy.wait_for_condition("Accepted").await;
    let mark = one.server.mark();
    allow(&two, "policies", &[&one]).await;
    let client = chart::account(&two, "policies").await;
    let second = Policies::start_with(client, &two, "policies-0", |settings| {
        serving(&[&one])(&mut settings.role);
    })
    .await;
    let status = policy.wait_for_condition("Contested").await;
    assert_second_is_refused([&one, &two], &status, &second.ops("readyz").await).await;
    let by_second = writes(&two, "policies", mark);
    let is_event = |write: &String| write.starts_with("create events");
    assert!(by_second.iter().all(is_event), "{by_second:?}");
    second.stop().await;
    policy
        .wait_for("is no longer contested", |status| {
            condition(status, "Contested").is_null()
        })
        .await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_for_all_leaves_a_claimed_namespace() {
    let test = "operator_for_all_leaves_a_claimed_namespace";
    let Some(server) = apiserver::private(test).await else {
        return;
    };
    let (one, two) = (
        server.namespace("spoor-one").await,
        server.namespace("spoor-two").await,
    );
    let narrow = Stacks::start(&one).await;
    narrow.apply("tracing", json!({})).await;
    until("the stack's objects", async || {
        narrow.exists::<Deployment>("tracing-decide").await
    })
    .await;
    let mark = server.mark();
    let account = chart::account_name(&two.name, "stacks");
    let everywhere = binding("ClusterRoleBinding", &two.name, &account);
    two.apply(everywhere).await.unwrap();
    let broad = Stacks::start_with(&two, |settings| settings.role.scope = WatchScope::All).await;
    broad.apply("tracing", json!({})).await;
    until("the other stack's objects", async || {
        broad.exists::<Deployment>("tracing-decide").await
    })
    .await;
    narrow
        .wait_for_status("tracing", |status| {
            has_condition(status, "Contested", "True")
        })
        .await;
    // It serves one namespace of two.
    assert_eq!(broad.ops("readyz").await, "ok\n");
    let metrics = broad.ops("metrics").await;
    assert!(
        metrics.contains("spoor_operator_refused_namespaces 1"),
        "{metrics}"
    );
    let calls = server.calls_of(&two.name, &account, mark);
    let mut intrusions = calls.iter().filter(|call| {
        call.is_write()
            && call.namespace == one.name
            && !["leases", "events"].contains(&call.resource.as_str())
    });
    assert!(intrusions.next().is_none(), "{calls:#?}");
    narrow.stop().await;
    broad.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_serves_the_namespaces_of_its_list() {
    let test = "operator_serves_the_namespaces_of_its_list";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let (one, two, three) = (
        server.namespace("spoor-one").await,
        server.namespace("spoor-two").await,
        server.namespace("spoor-three").await,
    );
    allow(&one, "stacks", &[&two]).await;
    let role =
        Stacks::start_with(&one, |settings| serving(&[&one, &two])(&mut settings.role)).await;
    let mark = server.mark();
    for namespace in [&three, &two, &one] {
        crate::children::apply_stack(namespace, json!({})).await;
    }
    for namespace in [&one, &two] {
        crate::children::wait_until_complete(namespace).await;
    }
    let account = chart::account_name(&one.name, "stacks");
    let calls = server.calls_of(&one.name, &account, mark);
    let mut elsewhere = calls.iter().filter(|call| {
        !call.namespace.is_empty() && ![&one.name, &two.name].contains(&&call.namespace)
    });
    assert_eq!(elsewhere.next().map(|call| &call.namespace), None);
    // Nothing is requested for the whole cluster.
    let mut broad = calls
        .iter()
        .filter(|call| !call.resource.is_empty() && call.namespace.is_empty());
    assert!(broad.next().is_none(), "{calls:#?}");
    role.stop().await;
}
