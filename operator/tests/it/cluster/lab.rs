//! Whose turn it is on the cluster, and what every test finds there.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use kube::Client;
use spoor_testing::peer::skip;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::{
    command::{at_last, helm, in_repository, kubectl, kubectl_given, missing},
    pods, stack,
};

/// Where all of it is installed.
pub const NAMESPACE: &str = "spoor-tests";
/// The chart's release.
pub const RELEASE: &str = "spoor";
/// The chart's stack.
pub const STACK: &str = "tracing";
/// The instances of service-a that most tests need.
pub const SERVICE_A_PODS: usize = 3;
/// Jaeger must forget nothing while a test counts.
pub const MAX_TRACES: u32 = 200_000;
/// What that takes.
pub const JAEGER_MEMORY: &str = "3Gi";
/// For an installation, or a rollout with its drains.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// So many tests have the cluster or wait for it.
static TESTS: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::const_new(());

/// The cluster, for one test.
pub struct Lab {
    pub client: Client,
    test: &'static str,
    started: Instant,
    _registered: Registered,
    _turn: MutexGuard<'static, ()>,
}

/// Counts a test from before its turn until after it.
struct Registered;

impl Lab {
    /// Spoor as installed, without policies. None, with a line that says so, where there is no
    /// cluster; with `SPOOR_REQUIRE_ALL=1` that is a failure.
    pub async fn installed(test: &'static str) -> Option<Self> {
        let lab = Self::bare(test).await?;
        if !lab.is_installed().await {
            lab.install(&for_tests()).await;
        }
        lab.clean().await;
        lab.say("the lab is ready");
        Some(lab)
    }

    /// The cluster with whatever is on it.
    pub async fn bare(test: &'static str) -> Option<Self> {
        if let Some(missing) = missing() {
            skip(test, &missing);
            return None;
        }
        TESTS.fetch_add(1, Ordering::SeqCst);
        let registered = Registered;
        let turn = TURN.lock().await;
        Some(Self {
            client: Client::try_default().await.unwrap(),
            test,
            started: Instant::now(),
            _registered: registered,
            _turn: turn,
        })
    }

    /// A line about how the test goes.
    pub fn say(&self, what: impl std::fmt::Display) {
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("{} [{seconds:6.1} s] {what}", self.test);
    }

    /// Installs the chart into a new namespace under the restricted Pod Security Standard, and
    /// waits until all of it is there; how long that took.
    pub async fn install(&self, values: &[String]) -> Duration {
        create_namespace(NAMESPACE).await;
        let started = Instant::now();
        release("install", values).await;
        self.settled().await;
        let took = started.elapsed();
        self.say(format_args!(
            "installed: everything ready after {:.1} s",
            took.as_secs_f64()
        ));
        took
    }

    /// Removes the release, its namespace and the definitions, if they are there.
    pub async fn remove(&self) {
        if self.is_installed().await {
            helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]).await;
        }
        kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found"]).await;
        kubectl(&delete_definitions()).await;
    }

    /// Whether the release is there.
    pub async fn is_installed(&self) -> bool {
        let ours = format!("owner=helm,name={RELEASE}");
        let kept = [
            "get",
            "secrets",
            "--namespace",
            NAMESPACE,
            "--output",
            "name",
        ];
        let kept = kubectl(&[&kept[..], &["--selector", &ours]].concat()).await;
        !kept.is_empty()
    }

    /// Waits until the stack is available, nothing progresses, and every pod is ready.
    pub async fn settled(&self) {
        stack::settled(self).await;
        pods::all_ready(self).await;
    }

    /// Without policies, and with the stack as it was installed.
    pub async fn clean(&self) {
        kubectl(&[
            "delete",
            "samplingpolicies",
            "--all",
            "--namespace",
            NAMESPACE,
        ])
        .await;
        pods::delete_generators(self).await;
        stack::reset().await;
        stack::without_tail_rules(self).await;
        self.settled().await;
    }
}

/// Creates a namespace under the restricted Pod Security Standard, if it is not there.
pub async fn create_namespace(name: &str) {
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted\n"
    );
    kubectl_given(&namespace, &["apply", "-f", "-"]).await;
}

/// Installs or upgrades the release with these values, besides the images.
pub async fn release(verb: &str, values: &[String]) {
    let arguments = release_arguments(verb, RELEASE, NAMESPACE, values);
    helm(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Helm's arguments for a release of the chart with these values, besides the images.
pub fn release_arguments(
    verb: &str,
    name: &str,
    namespace: &str,
    values: &[String],
) -> Vec<String> {
    let tag = image_tag();
    let images = format!("images.operator.tag={tag},images.applications.tag={tag}");
    let chart = in_repository("helm/spoor");
    let mut arguments = [verb, name, &chart, "--namespace", namespace]
        .map(str::to_owned)
        .to_vec();
    for value in values.iter().chain([&images]) {
        arguments.extend(["--set".to_owned(), value.clone()]);
    }
    arguments
}

/// Of the images `spoor` and `spoor-operator`: `SPOOR_IMAGE_TAG`, or the chart's own.
pub fn image_tag() -> String {
    std::env::var("SPOOR_IMAGE_TAG").unwrap_or_else(|_| "dev".to_owned())
}

/// What the tests set of the chart's values: more instances, rights in one namespace only, and a
/// Jaeger that forgets nothing meanwhile.
pub fn for_tests() -> Vec<String> {
    vec![
        format!("operator.namespaces={{{NAMESPACE}}}"),
        format!("applications.ab.serviceA.replicas={SERVICE_A_PODS}"),
        "prometheus.enabled=true".to_owned(),
        // Whether it is asked must not depend on its chance failures.
        "applications.wishlist.marketplaces.bazaar.errorRate=0%".to_owned(),
        format!("stack.spec.jaeger.storage.memory.maxTraces={MAX_TRACES}"),
        format!("stack.spec.jaeger.resources.limits.memory={JAEGER_MEMORY}"),
    ]
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.say("FAILED; what is on the cluster:");
            explain();
        }
        let is_last = TESTS.load(Ordering::SeqCst) == 1;
        if is_last && std::env::var("SPOOR_KEEP_CLUSTER").as_deref() != Ok("1") {
            let release = ["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"];
            let printed = [
                at_last("HELM", "helm", &release),
                at_last("KUBECTL", "kubectl", &["delete", "namespace", NAMESPACE]),
                at_last("KUBECTL", "kubectl", &delete_definitions()),
            ];
            self.say(format_args!("uninstalled: {}", printed.concat()));
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        TESTS.fetch_sub(1, Ordering::SeqCst);
    }
}

fn delete_definitions() -> [&'static str; 5] {
    [
        "delete",
        "customresourcedefinition",
        "samplingpolicies.spoor.dev",
        "tracingstacks.spoor.dev",
        "--ignore-not-found",
    ]
}

fn explain() {
    let here = ["--namespace", NAMESPACE];
    let of_stack = format!("app.kubernetes.io/instance={STACK}");
    let of_release = format!("app.kubernetes.io/instance={RELEASE}");
    let questions: [&[&str]; 7] = [
        &["get", "pods,statefulsets,deployments", "-o", "wide"],
        &["get", "tracingstacks,samplingpolicies", "-o", "yaml"],
        &["get", "events", "--sort-by=.lastTimestamp"],
        &["logs", "deployment/spoor-stacks", "--tail=60"],
        &["logs", "deployment/spoor-policies", "--tail=60"],
        &["logs", "--selector", &of_stack, "--prefix", "--tail=20"],
        &["logs", "--selector", &of_release, "--prefix", "--tail=5"],
    ];
    for question in questions {
        let printed = at_last("KUBECTL", "kubectl", &[&here, question].concat());
        eprintln!("--- kubectl {}\n{printed}", question.join(" "));
    }
}
