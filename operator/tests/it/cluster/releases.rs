//! A second release beside the first: one that serves its own namespace works, and one that would
//! serve the first one's namespace is refused.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, events::v1::Event};
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{
    command::{at_last, helm, helm_fails, kubectl, kubectl_given},
    lab::{self, Lab, NAMESPACE, PATIENCE, RELEASE, SERVICE_A_PODS, STACK},
    objects, policies, stack,
};
use crate::apiserver::eventually;

/// The namespace of the second release.
const ELSEWHERE: &str = "spoor-tests-two";
/// A second release's name that differs from the first one's.
const OTHER: &str = "other";
/// A refused operator renews its note every 20 s.
const RENEWED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn release_of_the_same_name_works_elsewhere() {
    let Some(lab) = Lab::installed("one name in two namespaces").await else {
        return;
    };
    let own = format!("operator.namespaces={{{ELSEWHERE}}}");
    let replicas = ["serviceA", "serviceB"].map(|it| format!("applications.ab.{it}.replicas=1"));
    let second = Second::install(RELEASE, &[&[own][..], &replicas].concat()).await;
    policies::apply_sample("service-a-1-percent.yaml").await;
    let percent = json!({"targets": [{"service": "service-a"}], "head": {"probability": "50%"}});
    apply_elsewhere("service-a", &percent).await;
    second.is(&lab, "TracingStack", STACK, "Available").await;
    let policy = second
        .is(&lab, "SamplingPolicy", "service-a", "Converged")
        .await;
    assert_eq!(policy["status"]["clients"]["current"], 1, "{policy}");
    lab.say("the second release's stack is available, and its policy converged");

    let policy = policies::wait_for(&lab, "service-a", "Converged", "True").await;
    assert_eq!(
        policy["status"]["clients"]["current"], SERVICE_A_PODS,
        "{policy}"
    );
    for (kind, name) in [("TracingStack", STACK), ("SamplingPolicy", "service-a")] {
        for namespace in [NAMESPACE, ELSEWHERE] {
            let object = objects::read_in(&lab, namespace, kind, name).await.unwrap();
            // For a minute a stack says who was refused before.
            let contested = objects::condition(&object, "Contested").map(Value::to_string);
            let refused =
                contested.is_some_and(|it| it.contains(&format!("{ELSEWHERE}/{RELEASE}")));
            assert!(!refused, "{kind} in {namespace}: {object}");
        }
    }
    // Neither release may take rights of the other away.
    drop(second);
    policies::patch("service-a", &json!({"head": {"probability": "10%"}})).await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_for_all_is_refused_by_name() {
    let Some(lab) = Lab::installed("two operators").await else {
        return;
    };
    policies::apply_sample("service-a-1-percent.yaml").await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
    stack::settled(&lab).await;
    let before = written().await;
    let nothing_else = ["stack.enabled=false", "applications.ab.enabled=false"].map(str::to_owned);
    let second = Second::install(OTHER, &nothing_else).await;

    let both = [
        format!("{NAMESPACE}/{RELEASE}"),
        format!("{ELSEWHERE}/{OTHER}-spoor"),
    ];
    for (kind, name) in [("TracingStack", STACK), ("SamplingPolicy", "service-a")] {
        let contested = eventually("Contested", PATIENCE, || async {
            let object = objects::read(&lab, kind, name).await.unwrap();
            let contested = objects::condition(&object, "Contested").cloned();
            contested.ok_or_else(|| object["status"]["conditions"].to_string())
        })
        .await;
        assert_eq!(contested["status"], "True");
        names(contested["message"].as_str().unwrap(), &both);
    }
    for reason in ["ServedByAnotherOperator", "AnotherOperator"] {
        names(&event(&lab, reason).await, &both);
    }
    for role in ["stacks", "policies"] {
        second.logs(role, "leaving its objects alone", &both).await;
    }
    lab.say("conditions, events and logs name both operators");

    let noted = refused_at(&lab).await;
    eventually("refused once more", RENEWED_WITHIN, || async {
        let now = refused_at(&lab).await;
        if now == noted { Err(now) } else { Ok(()) }
    })
    .await;
    assert_eq!(written().await, before);
    let ready = second.ready_replicas().await;
    assert_eq!(ready, "", "an operator that serves no namespace is Ready");
    policies::patch("service-a", &json!({"head": {"probability": "10%"}})).await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
    lab.say("nothing was rewritten, and the first operator goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn second_release_in_a_namespace_is_refused() {
    let Some(lab) = Lab::installed("two releases in a namespace").await else {
        return;
    };
    let install = lab::release_arguments("install", OTHER, NAMESPACE, &without_applications());
    let printed = helm_fails(&borrowed(&install)).await;
    lab.say(printed.trim_end());
    let expected = format!("the operator of release {RELEASE} is in namespace {NAMESPACE} already");
    assert!(printed.contains(&expected), "{printed}");
    let left = ["list", "--namespace", NAMESPACE, "--short"];
    assert_eq!(helm(&left).await.trim(), RELEASE);
}

/// A release in a namespace of its own, until it is dropped.
struct Second(&'static str);

impl Second {
    async fn install(name: &'static str, values: &[String]) -> Self {
        drop(Self(name));
        lab::create_namespace(ELSEWHERE).await;
        let second = Self(name);
        let values = [&without_applications()[..], values].concat();
        let arguments = lab::release_arguments("install", name, ELSEWHERE, &values);
        helm(&borrowed(&arguments)).await;
        second
    }

    /// Waits until a condition of one of its namespace's objects is true.
    async fn is(&self, lab: &Lab, kind: &str, name: &str, condition: &str) -> Value {
        eventually(&format!("{condition} of {name}"), PATIENCE, || async {
            let object = objects::read_in(lab, ELSEWHERE, kind, name).await;
            let object = object.ok_or("no such object")?;
            match objects::is(&object, condition, "True") {
                true => Ok(object),
                false => Err(object["status"]["conditions"].to_string()),
            }
        })
        .await
    }

    /// Waits for a line of a role's log, which must name these.
    async fn logs(&self, role: &str, message: &str, named: &[String]) {
        let deployment = format!("deployment/{}-spoor-{role}", self.0);
        let logs = ["logs", &deployment, "--namespace", ELSEWHERE];
        let line = eventually(message, PATIENCE, || async {
            let log = kubectl(&logs).await;
            let line = log.lines().find(|line| line.contains(message));
            line.map(str::to_owned).ok_or(log)
        })
        .await;
        names(&line, named);
    }

    async fn ready_replicas(&self) -> String {
        let ready = "jsonpath={.items[*].status.readyReplicas}";
        let get = [
            "get",
            "deployments",
            "--namespace",
            ELSEWHERE,
            "--output",
            ready,
        ];
        kubectl(&get).await
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let uninstall = ["uninstall", self.0, "--namespace", ELSEWHERE, "--wait"];
        let uninstall = [&uninstall[..], &["--ignore-not-found"]].concat();
        let delete = ["delete", "namespace", ELSEWHERE, "--ignore-not-found"];
        let printed = [
            at_last("HELM", "helm", &uninstall),
            at_last("KUBECTL", "kubectl", &delete),
        ];
        eprint!("{}", printed.concat());
    }
}

fn without_applications() -> Vec<String> {
    let others = ["wishlist", "bands", "tasks", "vision"];
    others
        .map(|it| format!("applications.{it}.enabled=false"))
        .to_vec()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn names(text: &str, named: &[String]) {
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}

async fn apply_elsewhere(name: &str, spec: &Value) {
    let policy = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": name},
        "spec": spec,
    });
    let apply = ["apply", "--namespace", ELSEWHERE, "-f", "-"];
    kubectl_given(&policy.to_string(), &apply).await;
}

/// The note of an event with this reason in the first release's namespace, once there is one.
async fn event(lab: &Lab, reason: &str) -> String {
    let events: Api<Event> = Api::namespaced(lab.client.clone(), NAMESPACE);
    eventually(reason, PATIENCE, || async {
        let events = events.list(&ListParams::default()).await;
        let events = events.map_err(|error| error.to_string())?;
        let mut events = events.items.into_iter();
        let event = events.find(|event| event.reason.as_deref() == Some(reason));
        event.and_then(|event| event.note).ok_or("none".to_owned())
    })
    .await
}

/// The time at which the second operator was refused last.
async fn refused_at(lab: &Lab) -> String {
    let leases: Api<Lease> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let lease = leases.get("spoor-operator").await.unwrap();
    let mut annotations = lease.metadata.annotations.unwrap_or_default();
    annotations
        .remove("spoor.dev/refused-at")
        .unwrap_or_default()
}

/// The first operator's objects, with what changes when somebody writes them. The status of
/// Deployments is Kubernetes' own.
async fn written() -> BTreeMap<String, String> {
    let ours = format!("app.kubernetes.io/instance={STACK}");
    let version = async |kinds: &str, field: &str| {
        let each = format!(
            "jsonpath={{range .items[*]}}{{.kind}}/{{.metadata.name}} \
             {{.metadata.uid}}/{{.metadata.{field}}}{{\"\\n\"}}{{end}}"
        );
        let get = ["get", kinds, "--namespace", NAMESPACE, "--selector", &ours];
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
