//! The chart's roles grant what the operator uses and nothing else: what it asked for in the
//! course of a life is compared with what Helm renders.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    apiserver::{self, Call, Namespace},
    role::{Policies, chart, sampling_policy::SamplingPolicy},
    subscriber::{Claim, Subscriber},
};

/// A verb on a resource of a group, as in a rule.
type Right = (String, String, String);

#[tokio::test(flavor = "multi_thread")]
async fn the_role_policies_may_do_what_it_does_and_no_more() {
    let test = "the_role_policies_may_do_what_it_does_and_no_more";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-rbac").await;
    let Some(rendered) = helm(test, &namespace) else {
        return;
    };
    let mark = server.mark();
    live(&namespace).await;

    let account = chart::account_name(&namespace.name, "policies");
    let calls = server.calls_of(&namespace.name, &account, mark);
    compare(&calls, &granted(&rendered, &account));
}

/// What the role does in the course of its life.
async fn live(namespace: &Namespace<'_>) {
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
    let door = policies.doors().await.stream;
    let ca = &policies.certificate.ca_pem;
    policy.becomes("Accepted").await;
    let (mut subscriber, plan) =
        crate::apiserver::eventually("a stream", crate::role::SOON, async || {
            let stream = Subscriber::subscribe(door, ca, claim.clone()).await;
            stream.map_err(|status| format!("{status:?}"))
        })
        .await;
    subscriber.acknowledge(&plan).await;
    subscriber.report(&plan, 1_000, 10).await;
    policy.becomes("Converged").await;
    policy.patch("2%").await;
    subscriber.take(20_000).await;
    policy.becomes("Converged").await;
    policy.delete().await;
    policies.stop().await;
}

/// Nothing refused, nothing granted that was not used.
fn compare(calls: &[Call], granted: &BTreeSet<Right>) {
    let refused: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    assert!(
        refused.is_empty(),
        "missing from the chart's roles: {refused:#?}"
    );
    let used: BTreeSet<Right> = calls
        .iter()
        .filter(|call| !call.resource.is_empty())
        .map(|call| {
            (
                call.group.clone(),
                call.resource_of_rule(),
                call.verb.clone(),
            )
        })
        .collect();
    let unneeded: Vec<_> = granted.difference(&used).collect();
    assert!(
        unneeded.is_empty(),
        "granted and never used: {unneeded:?}; used: {used:?}"
    );
}

/// What the rendered roles grant to this account.
fn granted(objects: &[Value], account: &str) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        let values = value.as_array().into_iter().flatten();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    };
    let roles = objects
        .iter()
        .filter(|object| object["metadata"]["name"] == account && !object["rules"].is_null());
    let rules = roles.flat_map(|role| role["rules"].as_array().unwrap());
    let mut rights = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    let is_exact = [&group, &resource, &verb]
                        .iter()
                        .all(|word| !word.contains('*'));
                    assert!(is_exact, "a wildcard in {rule}");
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    assert!(!rights.is_empty(), "no role is rendered for {account}");
    rights
}

/// What the chart renders. None, with a line that says so, where there is no Helm; with
/// `SPOOR_REQUIRE_ALL=1` that is a failure.
fn helm(test: &str, namespace: &Namespace<'_>) -> Option<Vec<Value>> {
    let rendered = chart::rendered(&namespace.name);
    if rendered.is_none() {
        let message = format!("SKIPPED {test}: no helm");
        assert_ne!(
            std::env::var("SPOOR_REQUIRE_ALL").as_deref(),
            Ok("1"),
            "{message}"
        );
        eprintln!("\n{message}\n");
    }
    rendered
}
