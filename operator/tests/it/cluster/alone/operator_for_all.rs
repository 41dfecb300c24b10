//! A second release whose operator would serve every namespace, and so the first one's.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{Api, api::ListParams};
use serde_json::json;

use super::super::{
    command::kubectl,
    lab::{Lab, RELEASE, ROLLOUT_TIMEOUT, STACK},
    objects, policies,
    releases::{OTHER, SecondRelease, assert_names, elsewhere},
    stack,
};
use crate::apiserver::eventually;

/// A refused operator renews its note every 20 s.
const RENEWED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn operator_for_all_is_refused_and_named() {
    let Some(lab) = Lab::installed_alone("two operators").await else {
        return;
    };
    policies::apply_sample(&lab, "service-a-1-percent.yaml").await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
    stack::wait_until_settled(&lab).await;
    let before = written(&lab).await;
    let nothing_else = ["stack.enabled=false", "applications.ab.enabled=false"].map(str::to_owned);
    let second = SecondRelease::install(&lab, OTHER, &nothing_else).await;

    let both = [
        format!("{}/{RELEASE}", lab.namespace),
        format!("{}/{OTHER}-spoor", elsewhere(&lab)),
    ];
    for (kind, name) in [("TracingStack", STACK), ("SamplingPolicy", "service-a")] {
        let contested = eventually("Contested", ROLLOUT_TIMEOUT, || async {
            let object = objects::read(&lab, kind, name).await.unwrap();
            let contested = objects::condition(&object, "Contested").cloned();
            contested.ok_or_else(|| object["status"]["conditions"].to_string())
        })
        .await;
        assert_eq!(contested["status"], "True");
        assert_names(contested["message"].as_str().unwrap(), &both);
    }
    for reason in ["ServedByAnotherOperator", "AnotherOperator"] {
        assert_names(&event(&lab, reason).await, &both);
    }
    for role in ["stacks", "policies"] {
        second.logs(role, "leaving its objects alone", &both).await;
    }
    lab.log("conditions, events and logs name both operators");

    let noted = refused_at(&lab).await;
    eventually("refused once more", RENEWED_WITHIN, || async {
        let now = refused_at(&lab).await;
        if now == noted { Err(now) } else { Ok(()) }
    })
    .await;
    assert_eq!(written(&lab).await, before);
    let ready = second.ready_replicas().await;
    assert_eq!(ready, "", "an operator that serves no namespace is Ready");
    policies::patch(&lab, "service-a", &json!({"head": {"probability": "10%"}})).await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
    lab.log("nothing was rewritten, and the first operator continues");
}

/// The note of an event with this reason in the first release's namespace, once there is one.
async fn event(lab: &Lab, reason: &str) -> String {
    let events: Api<Event> = Api::namespaced(lab.client.clone(), lab.namespace);
    eventually(reason, ROLLOUT_TIMEOUT, || async {
        let events = events.list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?;
        let mut events = events.items.into_iter();
        let event = events.find(|event| event.reason.as_deref() == Some(reason));
        event.and_then(|event| event.note).ok_or("none".to_owned())
    })
    .await
}

/// The time at which the second operator was last refused.
async fn refused_at(lab: &Lab) -> String {
    let leases: Api<Lease> = Api::namespaced(lab.client.clone(), lab.namespace);
    let lease = leases.get("spoor-operator").await.unwrap();
    let mut annotations = lease.metadata.annotations.unwrap_or_default();
    annotations
        .remove("spoor.dev/refused-at")
        .unwrap_or_default()
}

/// The first operator's objects, each with a version that the operator's writes change. For
/// Deployments that is the generation, since Kubernetes writes their status.
async fn written(lab: &Lab) -> BTreeMap<String, String> {
    let ours = format!("app.kubernetes.io/instance={STACK}");
    let version = async |kinds: &str, field: &str| {
        let each = format!(
            "jsonpath={{range .items[*]}}{{.kind}}/{{.metadata.name}} \
             {{.metadata.uid}}/{{.metadata.{field}}}{{\"\\n\"}}{{end}}"
        );
        let get = [
            "get",
            kinds,
            "--namespace",
            lab.namespace,
            "--selector",
            &ours,
        ];
        kubectl(&[&get[..], &["--output", &each]].concat()).await
    };
    let objects = "configmaps,services,networkpolicies";
    let printed = [
        version("deployments", "generation").await,
        version(objects, "resourceVersion").await,
    ];
    let written: BTreeMap<String, String> = printed
        .concat()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect();
    assert!(written.len() > 6, "{written:?}");
    written
}
