//! The chart's roles grant what the operator uses and nothing else: its requests over a whole
//! lifetime are compared with the roles that Helm renders.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec},
    core::v1::Secret,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use spoor_testing::programs::skip;

use crate::{
    apiserver::{self, Call, Namespace, eventually},
    children,
    role::{MAX_WAIT, Policies, chart, replica::Release, sampling_policy::SamplingPolicy},
    subscriber::{Claim, Subscriber},
};

/// A verb on a resource of a group, as in a rule.
type Permission = (String, String, String);

#[tokio::test(flavor = "multi_thread")]
async fn policies_role_has_no_unused_permissions() {
    let test = "policies_role_has_no_unused_permissions";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-rbac").await;
    let Some(rendered) = helm(test, &namespace) else {
        return;
    };
    let mark = server.mark();
    exercise(&namespace).await;

    let account = chart::account_name(&namespace.name, "policies");
    let calls = server.calls_of(&namespace.name, &account, mark);
    compare(&calls, &granted(&rendered, &namespace.name, "policies"));
}

/// Exercises everything that the role does.
async fn exercise(namespace: &Namespace<'_>) {
    let policies = Policies::start(namespace).await;
    let policy = SamplingPolicy::apply(namespace, "a", "1%").await;
    let pod = namespace
        .ready_pod("a-0", &[("spoor.dev/service", "a")], "127.0.0.2")
        .await;
    let token = namespace.pod_token(&pod, "spoor.dev").await;
    let claim = Claim {
        token: Some(&token),
        service: "a",
        instance: "a-0",
    };
    let endpoint = policies.endpoints().await.stream;
    let ca = &policies.certificate.ca_pem;
    policy.wait_for_condition("Accepted").await;
    let (mut subscriber, plan) = eventually("a stream", MAX_WAIT, async || {
        let stream = Subscriber::subscribe(endpoint, ca, claim.clone()).await;
        stream.map_err(|status| format!("{status:?}"))
    })
    .await;
    subscriber.acknowledge(&plan).await;
    subscriber.report(&plan, 1_000, 10).await;
    policy.wait_for_condition("Converged").await;
    policy.patch("2%").await;
    subscriber.acknowledge_until(20_000).await;
    policy.wait_for_condition("Converged").await;
    policy.delete().await;
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stacks_role_has_no_unused_permissions() {
    let test = "stacks_role_has_no_unused_permissions";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-rbac").await;
    let Some(rendered) = helm(test, &namespace) else {
        return;
    };
    let release = Release::new(&namespace, "stacks").await;
    let mark = server.mark();
    // Simulates an administrator who deleted what the chart created.
    let secrets = namespace.api::<Secret>();
    for name in ["spoor-ca", "spoor-policies-tls"] {
        let deleted = secrets.delete(name, &DeleteParams::default()).await;
        deleted.unwrap();
    }
    let replica = release.start("stacks-0");
    // A stack with objects of every kind.
    let spec = json!({
        "jaeger": {"storage": {"badger": {"size": "1Gi"}}},
        "collector": {"replicas": 2},
        "sampler": {"engine": "Spoor"},
    });
    children::apply_stack(&namespace, spec.clone()).await;
    let first = children::wait_until_complete(&namespace).await;
    // Edits are reverted, and an earlier stack's objects are deleted before the next one's are
    // created: this API server has no garbage collector.
    for child in first.values() {
        let edit = json!({
            "apiVersion": child["apiVersion"],
            "kind": child["kind"],
            "metadata": {
                "name": child["metadata"]["name"],
                "labels": {"app.kubernetes.io/instance": "edited"},
            },
        });
        let edited = server.apply(edit, Some(&namespace.name), "somebody").await;
        edited.unwrap();
    }
    children::wait_until_complete(&namespace).await;
    children::delete_stack(&namespace).await;
    children::apply_stack(&namespace, spec).await;
    eventually("the next stack's own objects", MAX_WAIT * 4, async || {
        let uid = children::stack(&namespace).await["metadata"]["uid"].clone();
        let objects = children::wait_until_complete(&namespace).await;
        let old = objects
            .iter()
            .find(|(_, child)| child["metadata"]["ownerReferences"][0]["uid"] != uid);
        match (old, objects.len() >= first.len()) {
            (None, true) => Ok(()),
            (old, _) => Err(format!(
                "{:?}, {} of {}; {}",
                old.map(|(name, _)| name),
                objects.len(),
                first.len(),
                replica.process.log_tail()
            )),
        }
    })
    .await;
    replica.process.terminate();
    eventually("the process has ended", MAX_WAIT, async || {
        match replica.process.is_running() {
            false => Ok(()),
            true => Err(replica.process.log_tail()),
        }
    })
    .await;

    let account = chart::account_name(&namespace.name, "stacks");
    let calls = server.calls_of(&namespace.name, &account, mark);
    compare(&calls, &granted(&rendered, &namespace.name, "stacks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_end_at_served_namespaces() {
    let test = "permissions_end_at_served_namespaces";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let release = server.namespace("spoor-rbac").await;
    let (a, b) = (server.namespace("a").await, server.namespace("b").await);
    let other = server.namespace("other").await;
    if helm(test, &release).is_none() {
        return;
    }
    for role in ["stacks", "policies"] {
        let client = chart::account_serving(&release, role, &[&a.name, &b.name]).await;
        for served in [&a, &b] {
            let allowed = resources(&client, &served.name).await;
            assert!(allowed.contains("tracingstacks"), "{role}: {allowed:?}");
        }
        for outside in [other.name.as_str(), "kube-system", "default"] {
            let mut allowed = resources(&client, outside).await;
            // The permissions of every authenticated user.
            allowed.retain(|resource| !resource.starts_with("selfsubject"));
            allowed.remove("tokenreviews");
            allowed.remove("customresourcedefinitions");
            assert!(allowed.is_empty(), "{role} in {outside}: {allowed:?}");
        }
    }
}

/// The resources that a client has a permission on, as `kubectl auth can-i --list` shows them.
async fn resources(client: &Client, namespace: &str) -> BTreeSet<String> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let reviews = Api::<SelfSubjectRulesReview>::all(client.clone());
    let review = reviews.create(&PostParams::default(), &review).await;
    let status = review.unwrap().status.unwrap();
    assert!(!status.incomplete, "{status:?}");
    let rules = status.resource_rules.into_iter();
    rules
        .flat_map(|rule| rule.resources.unwrap_or_default())
        .collect()
}

/// Checks that no call was refused, and that every granted permission was used.
fn compare(calls: &[Call], granted: &BTreeSet<Permission>) {
    let refused: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    assert!(
        refused.is_empty(),
        "missing from the chart's roles: {refused:#?}"
    );
    let resources = calls.iter().filter(|call| !call.resource.is_empty());
    let used: BTreeSet<Permission> = resources.flat_map(permissions).collect();
    let unneeded: Vec<_> = granted.difference(&used).collect();
    assert!(
        unneeded.is_empty(),
        "granted and never used: {unneeded:?}; used: {used:?}"
    );
}

/// The permissions that a request needs.
fn permissions(call: &Call) -> impl Iterator<Item = Permission> {
    // An apply or update that creates its object needs both verbs.
    let creates = ["patch", "update"].contains(&call.verb.as_str()) && call.code == 201;
    let verbs = [Some(call.verb.as_str()), creates.then_some("create")];
    let permission = |verb: &str| (call.group.clone(), call.resource_of_rule(), verb.to_owned());
    verbs.into_iter().flatten().map(permission)
}

/// The permissions that the rendered roles grant to the account of this role of the operator.
fn granted(objects: &[Value], namespace: &str, role: &str) -> BTreeSet<Permission> {
    let names = [
        chart::account_name(namespace, role),
        chart::outside_name(namespace, role),
    ];
    let texts = |value: &Value| -> Vec<String> {
        let values = value.as_array().into_iter().flatten();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    let is_granted = |object: &&Value| {
        let name = object["metadata"]["name"].as_str();
        name.is_some_and(|name| names.iter().any(|it| it == name)) && !object["rules"].is_null()
    };
    let roles = objects.iter().filter(is_granted);
    let rules = roles.flat_map(|role| role["rules"].as_array().unwrap());
    let mut permissions = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let is_exact = [&group, &resource, &verb]
                        .iter()
                        .all(|word| !word.contains('*'));
                    assert!(is_exact, "a wildcard in {rule}");
                    permissions.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    assert!(!permissions.is_empty(), "no role is rendered for {names:?}");
    permissions
}

/// The rendered chart. None, with a message, if there is no Helm; with `SPOOR_REQUIRE_ALL=1` that is
/// a failure.
fn helm(test: &str, namespace: &Namespace<'_>) -> Option<Vec<Value>> {
    let rendered = chart::rendered(&namespace.name, &[&namespace.name]);
    if rendered.is_none() {
        skip(test, "no helm");
    }
    rendered
}
