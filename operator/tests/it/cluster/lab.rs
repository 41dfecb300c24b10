//! Installations of Spoor on the cluster, and their assignment to tests.

use std::{
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::Client;
use spoor_testing::programs::skip;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinSet,
    time::Instant,
};

use super::{
    command::{borrowed, helm, in_repository, kubectl, kubectl_given, missing, run_blocking},
    pods, stack,
};
use crate::chart::without_applications_but;

/// Namespaces of the installations, each used by one test at a time. More of them would compete
/// for two cores; fewer would leave the cores idle, because tests mostly wait for rollouts.
const NAMESPACES: [&str; 3] = ["spoor-tests-1", "spoor-tests-2", "spoor-tests-3"];
/// The namespace of the installation with Spoor's sampler, which one test at a time uses. It is
/// small, since a node of two cores has no room for a fourth one with all applications.
const SAMPLER_NAMESPACE: &str = "spoor-tests-sampler";
/// The chart's release.
pub const RELEASE: &str = "spoor";
/// The chart's stack.
pub const STACK: &str = "tracing";
/// The instances of service-a that most tests need.
pub const SERVICE_A_PODS: usize = 3;
/// The traces that Jaeger keeps, so many that it evicts none while a test counts.
pub const MAX_TRACES: u32 = 200_000;
/// The memory that these traces take.
pub const JAEGER_MEMORY: &str = "3Gi";
/// The CPU that each pod of the small installation's stack requests.
pub const SMALL_CPU_REQUEST: &str = "10m";
/// Time for an installation, or for a rollout with its drains.
pub const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(180);

/// One permit for each namespace. A test takes one, or all of them to be alone on the cluster.
/// Permits are granted in the order of requests, so that a test that needs all is not starved.
static PERMITS: Semaphore = Semaphore::const_new(NAMESPACES.len());
/// The permit for [`SAMPLER_NAMESPACE`]. It is taken before one of [`PERMITS`], which a test that
/// waits for this one must not hold.
static SAMPLER_PERMIT: Semaphore = Semaphore::const_new(1);
/// Namespaces that no test uses. The last one is taken first: tests that run one after another
/// share one installation.
static FREE: LazyLock<Mutex<Vec<&str>>> = LazyLock::new(|| Mutex::new(NAMESPACES.to_vec()));
/// Number of tests that use the cluster or wait for it.
static TESTS: AtomicUsize = AtomicUsize::new(0);

/// The program that decides on complete traces in an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The Collector's own tail sampler, beside all applications.
    OpenTelemetry,
    /// Spoor's sampler, without applications.
    Spoor,
}

/// An installation, for one test.
pub struct Lab {
    pub client: Client,
    pub namespace: &'static str,
    pub engine: Engine,
    test: &'static str,
    started: Instant,
    permits: SemaphorePermit<'static>,
    _sampler_permit: Option<SemaphorePermit<'static>>,
}

impl Lab {
    /// Provides Spoor as installed, without policies. Returns none, with a message, if there is no
    /// cluster; with `SPOOR_REQUIRE_ALL=1` that is a failure.
    pub async fn installed(test: &'static str) -> Option<Self> {
        let lab = Self::acquire(test, 1, Engine::OpenTelemetry).await?;
        lab.prepare().await;
        Some(lab)
    }

    /// Provides the same with Spoor's sampler and without applications.
    pub async fn with_sampler(test: &'static str) -> Option<Self> {
        let lab = Self::acquire(test, 1, Engine::Spoor).await?;
        lab.prepare().await;
        Some(lab)
    }

    /// Provides the same while no other test uses the cluster.
    pub async fn with_sampler_alone(test: &'static str) -> Option<Self> {
        let lab = Self::acquire(test, NAMESPACES.len(), Engine::Spoor).await?;
        lab.prepare().await;
        Some(lab)
    }

    /// Provides the same as [`Lab::installed`] while no other test uses the cluster.
    pub async fn installed_alone(test: &'static str) -> Option<Self> {
        let lab = Self::alone(test).await?;
        lab.prepare().await;
        Some(lab)
    }

    /// Provides the cluster in any state while no other test uses it.
    pub async fn alone(test: &'static str) -> Option<Self> {
        Self::acquire(test, NAMESPACES.len(), Engine::OpenTelemetry).await
    }

    async fn acquire(test: &'static str, permits: usize, engine: Engine) -> Option<Self> {
        if let Some(missing) = missing() {
            skip(test, &missing);
            return None;
        }
        TESTS.fetch_add(1, Ordering::SeqCst);
        let sampler_permit = match engine {
            Engine::OpenTelemetry => None,
            Engine::Spoor => Some(SAMPLER_PERMIT.acquire().await.unwrap()),
        };
        let permits = PERMITS.acquire_many(permits.try_into().unwrap());
        let permits = permits.await.unwrap();
        let namespace = match engine {
            Engine::OpenTelemetry => free_namespaces().pop().expect("one for each permit"),
            Engine::Spoor => SAMPLER_NAMESPACE,
        };
        Some(Self {
            client: Client::try_default().await.unwrap(),
            namespace,
            engine,
            test,
            started: Instant::now(),
            permits,
            _sampler_permit: sampler_permit,
        })
    }

    async fn prepare(&self) {
        if !is_installed(self.namespace).await {
            self.install(&self.values()).await;
        }
        self.clean().await;
        self.log("the lab is ready");
    }

    /// Logs a line about the progress of the test.
    pub fn log(&self, what: impl std::fmt::Display) {
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("{} [{seconds:6.1} s] {what}", self.test);
    }

    /// Installs the chart into a new namespace under the restricted Pod Security Standard, and
    /// waits until everything is ready. Returns the time that took.
    pub async fn install(&self, values: &[String]) -> Duration {
        create_namespace(self.namespace).await;
        let started = Instant::now();
        self.release("install", values).await;
        self.wait_until_settled().await;
        let took = started.elapsed();
        self.log(format_args!(
            "installed: everything ready after {:.1} s",
            took.as_secs_f64()
        ));
        took
    }

    /// Removes every installation and the definitions, if they exist.
    pub async fn empty_cluster(&self) {
        let removals: JoinSet<()> = all_namespaces().map(remove).collect();
        removals.join_all().await;
        kubectl(&delete_definitions()).await;
    }

    /// Installs or upgrades the release with these values, besides the images.
    pub async fn release(&self, verb: &str, values: &[String]) {
        let arguments = release_arguments(verb, RELEASE, self.namespace, values);
        helm(&borrowed(&arguments)).await;
    }

    /// The chart's values for tests: permissions in one namespace only, a Jaeger that evicts no
    /// trace while a test counts, and more instances, or no applications.
    pub fn values(&self) -> Vec<String> {
        let every = [
            format!("operator.namespaces={{{}}}", self.namespace),
            format!("stack.spec.jaeger.storage.memory.maxTraces={MAX_TRACES}"),
            format!("stack.spec.jaeger.resources.limits.memory={JAEGER_MEMORY}"),
        ];
        let others = match self.engine {
            Engine::OpenTelemetry => vec![
                format!("applications.ab.serviceA.replicas={SERVICE_A_PODS}"),
                "prometheus.enabled=true".to_owned(),
                "stack.spec.sampler.engine=OpenTelemetry".to_owned(),
                // Without random failures, so that the circuit breaker never skips this
                // marketplace.
                "applications.wishlist.marketplaces.bazaar.errorRate=0%".to_owned(),
            ],
            Engine::Spoor => {
                let request = |part: &str| {
                    format!("stack.spec.{part}.resources.requests.cpu={SMALL_CPU_REQUEST}")
                };
                let requests = ["jaeger", "collector", "sampler"].map(request);
                [without_applications_but(""), requests.to_vec()].concat()
            }
        };
        [every.to_vec(), others].concat()
    }

    /// Waits until the stack is available and not progressing, and every pod is ready.
    pub async fn wait_until_settled(&self) {
        stack::wait_until_settled(self).await;
        pods::wait_until_ready(self).await;
    }

    /// Deletes all policies, and restores the stack as it was installed.
    pub async fn clean(&self) {
        kubectl(&[
            "delete",
            "samplingpolicies",
            "--all",
            "--namespace",
            self.namespace,
        ])
        .await;
        pods::delete_generators(self).await;
        stack::reset(self).await;
        stack::wait_until_no_tail_rules(self).await;
        self.wait_until_settled().await;
    }
}

async fn remove(namespace: &str) {
    if is_installed(namespace).await {
        helm(&["uninstall", RELEASE, "--namespace", namespace, "--wait"]).await;
    }
    kubectl(&["delete", "namespace", namespace, "--ignore-not-found"]).await;
}

async fn is_installed(namespace: &str) -> bool {
    let ours = format!("owner=helm,name={RELEASE}");
    let get = ["get", "secrets", "--namespace", namespace];
    let kept = [&get[..], &["--output", "name", "--selector", &ours]].concat();
    !kubectl(&kept).await.is_empty()
}

fn all_namespaces() -> impl Iterator<Item = &'static str> {
    NAMESPACES.into_iter().chain([SAMPLER_NAMESPACE])
}

/// Creates a namespace under the restricted Pod Security Standard, unless it exists.
pub async fn create_namespace(name: &str) {
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
         pod-security.kubernetes.io/enforce: restricted\n"
    );
    kubectl_given(&namespace, &["apply", "-f", "-"]).await;
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

/// Tag of the images `spoor` and `spoor-operator`: `SPOOR_IMAGE_TAG`, or the chart's own.
pub fn image_tag() -> String {
    std::env::var("SPOOR_IMAGE_TAG").unwrap_or_else(|_| "dev".to_owned())
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log("FAILED; the state of the cluster:");
            print_state(self.namespace);
        }
        if self.engine == Engine::OpenTelemetry {
            free_namespaces().push(self.namespace);
        }
        let is_last = TESTS.fetch_sub(1, Ordering::SeqCst) == 1;
        if !is_last || std::env::var("SPOOR_KEEP_CLUSTER").as_deref() == Ok("1") {
            return;
        }
        // Another test may have begun since; then that one uninstalls.
        let others = NAMESPACES.len() - self.permits.num_permits();
        if let Ok(_alone) = PERMITS.try_acquire_many(others.try_into().unwrap()) {
            self.log(format_args!("uninstalled: {}", uninstall_everything()));
        }
    }
}

fn free_namespaces() -> std::sync::MutexGuard<'static, Vec<&'static str>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the same as [`Lab::empty_cluster`] without async, as `Drop` needs. Returns the output.
fn uninstall_everything() -> String {
    let mut printed = String::new();
    for namespace in all_namespaces() {
        let release = ["uninstall", RELEASE, "--namespace", namespace, "--wait"];
        printed += &run_blocking(
            "HELM",
            "helm",
            &[&release[..], &["--ignore-not-found"]].concat(),
        );
        let delete = ["delete", "namespace", namespace, "--ignore-not-found"];
        printed += &run_blocking("KUBECTL", "kubectl", &delete);
    }
    printed + &run_blocking("KUBECTL", "kubectl", &delete_definitions())
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

fn print_state(namespace: &str) {
    let here = ["--namespace", namespace];
    let of_stack = format!("app.kubernetes.io/instance={STACK}");
    let of_release = format!("app.kubernetes.io/instance={RELEASE}");
    let queries: [&[&str]; 7] = [
        &["get", "pods,statefulsets,deployments", "-o", "wide"],
        &["get", "tracingstacks,samplingpolicies", "-o", "yaml"],
        &["get", "events", "--sort-by=.lastTimestamp"],
        &["logs", "deployment/spoor-stacks", "--tail=60"],
        &["logs", "deployment/spoor-policies", "--tail=60"],
        &["logs", "--selector", &of_stack, "--prefix", "--tail=20"],
        &["logs", "--selector", &of_release, "--prefix", "--tail=5"],
    ];
    for query in queries {
        let printed = run_blocking("KUBECTL", "kubectl", &[&here, query].concat());
        eprintln!("--- kubectl {}\n{printed}", query.join(" "));
    }
}
