//! A second release beside the first: one that serves its own namespace works, and one in the first
//! one's namespace is refused.

use serde_json::{Value, json};

use super::{
    command::{borrowed, helm, helm_fails, kubectl, kubectl_given, run_blocking},
    lab::{self, Lab, RELEASE, ROLLOUT_TIMEOUT, SERVICE_A_PODS, STACK},
    objects, policies,
};
use crate::{apiserver::eventually, chart::without_applications_but};

/// A second release's name that differs from the first one's.
pub const OTHER: &str = "other";

#[tokio::test(flavor = "multi_thread")]
async fn release_of_the_same_name_works_elsewhere() {
    let Some(lab) = Lab::installed("one name in two namespaces").await else {
        return;
    };
    let elsewhere = elsewhere(&lab);
    let own = format!("operator.namespaces={{{elsewhere}}}");
    let replicas = ["serviceA", "serviceB"].map(|it| format!("applications.ab.{it}.replicas=1"));
    let second = SecondRelease::install(&lab, RELEASE, &[&[own][..], &replicas].concat()).await;
    policies::apply_sample(&lab, "service-a-1-percent.yaml").await;
    let percent = json!({"targets": [{"service": "service-a"}], "head": {"probability": "50%"}});
    second.apply("service-a", &percent).await;
    second
        .wait_for(&lab, "TracingStack", STACK, "Available")
        .await;
    let policy = second
        .wait_for(&lab, "SamplingPolicy", "service-a", "Converged")
        .await;
    assert_eq!(policy["status"]["clients"]["current"], 1, "{policy}");
    lab.log("the second release's stack is available, and its policy converged");

    let policy = policies::wait_for(&lab, "service-a", "Converged", "True").await;
    assert_eq!(
        policy["status"]["clients"]["current"], SERVICE_A_PODS,
        "{policy}"
    );
    for (kind, name) in [("TracingStack", STACK), ("SamplingPolicy", "service-a")] {
        for namespace in [lab.namespace, &elsewhere] {
            let object = objects::read_in(&lab, namespace, kind, name).await.unwrap();
            // For a minute a stack's status names the installation that was refused before.
            let contested = objects::condition(&object, "Contested").map(Value::to_string);
            let refused =
                contested.is_some_and(|it| it.contains(&format!("{elsewhere}/{RELEASE}")));
            assert!(!refused, "{kind} in {namespace}: {object}");
        }
    }
    // Neither release may remove permissions of the other.
    drop(second);
    policies::patch(&lab, "service-a", &json!({"head": {"probability": "10%"}})).await;
    policies::wait_for(&lab, "service-a", "Converged", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_release_in_a_namespace_is_refused() {
    let Some(lab) = Lab::installed("two releases in a namespace").await else {
        return;
    };
    let install = lab::release_arguments(
        "install",
        OTHER,
        lab.namespace,
        &without_applications_but("ab"),
    );
    let printed = helm_fails(&borrowed(&install)).await;
    lab.log(printed.trim_end());
    let expected = format!(
        "the operator of release {RELEASE} is already in namespace {}",
        lab.namespace
    );
    assert!(printed.contains(&expected), "{printed}");
    let left = ["list", "--namespace", lab.namespace, "--short"];
    assert_eq!(helm(&left).await.trim(), RELEASE);
}

/// A release in a namespace of its own, until it is dropped.
pub struct SecondRelease {
    name: &'static str,
    namespace: String,
}

impl SecondRelease {
    pub async fn install(lab: &Lab, name: &'static str, values: &[String]) -> Self {
        let namespace = elsewhere(lab);
        let second = Self { name, namespace };
        second.remove();
        lab::create_namespace(&second.namespace).await;
        let values = [&without_applications_but("ab")[..], values].concat();
        let arguments = lab::release_arguments("install", name, &second.namespace, &values);
        helm(&borrowed(&arguments)).await;
        second
    }

    /// Applies a policy to its namespace.
    async fn apply(&self, name: &str, spec: &Value) {
        let policy = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        let apply = ["apply", "--namespace", &self.namespace, "-f", "-"];
        kubectl_given(&policy.to_string(), &apply).await;
    }

    /// Waits until a condition of one of its namespace's objects is true.
    async fn wait_for(&self, lab: &Lab, kind: &str, name: &str, condition: &str) -> Value {
        eventually(
            &format!("{condition} of {name}"),
            ROLLOUT_TIMEOUT,
            || async {
                let object = objects::read_in(lab, &self.namespace, kind, name).await;
                let object = object.ok_or("no such object")?;
                match objects::has(&object, condition, "True") {
                    true => Ok(object),
                    false => Err(object["status"]["conditions"].to_string()),
                }
            },
        )
        .await
    }

    /// Waits for a line of a role's log, which must name these.
    pub async fn logs(&self, role: &str, message: &str, named: &[String]) {
        let deployment = format!("deployment/{}-spoor-{role}", self.name);
        let logs = ["logs", &deployment, "--namespace", &self.namespace];
        let line = eventually(message, ROLLOUT_TIMEOUT, || async {
            let log = kubectl(&logs).await;
            let line = log.lines().find(|line| line.contains(message));
            line.map(str::to_owned).ok_or(log)
        })
        .await;
        assert_names(&line, named);
    }

    fn remove(&self) {
        let uninstall = ["uninstall", self.name, "--namespace", &self.namespace];
        let uninstall = [&uninstall[..], &["--wait", "--ignore-not-found"]].concat();
        let delete = ["delete", "namespace", &self.namespace, "--ignore-not-found"];
        let printed = [
            run_blocking("HELM", "helm", &uninstall),
            run_blocking("KUBECTL", "kubectl", &delete),
        ];
        eprint!("{}", printed.concat());
    }

    pub async fn ready_replicas(&self) -> String {
        let ready = "jsonpath={.items[*].status.readyReplicas}";
        let get = [
            "get",
            "deployments",
            "--namespace",
            &self.namespace,
            "--output",
            ready,
        ];
        kubectl(&get).await
    }
}

impl Drop for SecondRelease {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The namespace of the second release.
pub fn elsewhere(lab: &Lab) -> String {
    format!("{}-two", lab.namespace)
}

pub fn assert_names(text: &str, named: &[String]) {
    assert!(named.iter().all(|name| text.contains(name)), "{text}");
}
