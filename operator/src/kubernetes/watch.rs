//! Watches that keep in memory what the operator needs of each object. kube's `reflector` keeps
//! objects of the watched type, one store per watch. These stores keep a trimmed value, combine the
//! watches of several namespaces, notify only when a kept value has changed, and report which watch
//! has not synced and why.

mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use backon::ExponentialBuilder;
use futures_util::StreamExt;
use kube::{
    Api, Client, Resource,
    core::NamespaceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, ExponentialBackoff, watcher},
    },
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::de::DeserializeOwned;
use spoor_runtime::with_causes;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use super::key::Key;
pub use store::ObjectStore;
use store::StoreWriter;

/// The time after which the API server ends a watch, which then continues where it ended. It is
/// shorter than the client's read timeout, so only a broken connection is silent for that long.
const WATCH_TIMEOUT_SECONDS: u32 = 60;

/// The most objects in one response to a list. The allocator does not return the memory that
/// decoding a large one takes.
const MAX_PAGE_OBJECTS: u32 = 50;

/// The delays between attempts to watch. They are short, since few processes wait for the API
/// server to come back, and each should notice soon.
const RETRY_DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    // The jitter adds up to as much again: the first delay is at most 100 ms, the longest 4 s.
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(2))
    .with_jitter()
    .without_max_times();

/// The namespaces that the operator serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchScope {
    /// Every namespace, by cluster-wide watches.
    #[default]
    All,
    /// These namespaces, by watches in each, so that the operator needs no permission to watch
    /// others.
    Only(BTreeSet<String>),
}

impl WatchScope {
    /// The namespaces of the list; without a list, those that are `used`.
    #[must_use]
    pub fn namespaces_or(&self, used: impl FnOnce() -> BTreeSet<String>) -> BTreeSet<String> {
        match self {
            Self::All => used(),
            Self::Only(namespaces) => namespaces.clone(),
        }
    }

    /// The namespaces of the watches that cover the scope. `None` stands for all of the cluster.
    fn api_namespaces(&self) -> Vec<Option<String>> {
        match self {
            Self::All => vec![None],
            Self::Only(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }
}

/// The watches of a role. Clones share them.
#[derive(Clone)]
pub struct Watches(Arc<Inner>);

struct Inner {
    client: Client,
    scope: WatchScope,
    changed: watch::Sender<u64>,
    /// The watches that have not synced yet, each with its last error.
    unsynced: watch::Sender<BTreeMap<WatchId, Option<String>>>,
    failures: Family<FailureLabels, Counter>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A watch's resource and namespace.
type WatchId = (String, Option<String>);

/// The resource and the reason of a failure.
type FailureLabels = [(&'static str, String); 2];

impl Watches {
    /// Creates an empty set of watches of the namespaces in `scope`. All of them end with `stop`.
    #[must_use]
    pub fn new(client: Client, scope: WatchScope, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            client,
            scope,
            changed: watch::Sender::new(0),
            unsynced: watch::Sender::new(BTreeMap::new()),
            failures: Family::default(),
            stop,
            tasks: TaskTracker::new(),
        }))
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Watches that failed and were started again, by resource and reason";
        registry.register("watch_failures", help, self.0.failures.clone());
    }

    /// Starts to watch the objects of a resource that `config` selects. The store keeps what
    /// `convert` returns for each object, if anything.
    pub fn start<K, V>(
        &self,
        resource: &K::DynamicType,
        config: Config,
        convert: impl Fn(K) -> Option<V> + Clone + Send + 'static,
    ) -> ObjectStore<V>
    where
        K: Resource<Scope: NamespaceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
        V: PartialEq + Send + Sync + 'static,
    {
        let store = ObjectStore::empty();
        let config = config
            .timeout(WATCH_TIMEOUT_SECONDS)
            .page_size(MAX_PAGE_OBJECTS);
        for namespace in self.0.scope.api_namespaces() {
            let (watches, config) = (self.clone(), config.clone());
            let all: Api<K> = Api::all_with(self.0.client.clone(), resource);
            let api = match &namespace {
                Some(namespace) => all.constrain(namespace),
                None => all,
            };
            let mut store = store.writer(namespace.clone(), convert.clone());
            let id = (K::plural(resource).into_owned(), namespace);
            // Registered before the task starts, so that the watches never count as synced too
            // early.
            self.0.unsynced.send_modify(|unsynced| {
                unsynced.insert(id.clone(), None);
            });
            self.0.tasks.spawn(async move {
                let stop = watches.0.stop.clone();
                stop.run_until_cancelled(watches.run(id, api, config, &mut store))
                    .await;
            });
        }
        store
    }

    /// Reports a change of state that is kept outside these stores.
    pub fn notify(&self) {
        self.0.changed.send_modify(|it| *it = it.wrapping_add(1));
    }

    /// A receiver of the number of changes of kept values.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// A message about a watch that has not synced, with its last error.
    #[must_use]
    pub fn unsynced_reason(&self) -> Option<String> {
        let unsynced = self.0.unsynced.borrow();
        let failed = unsynced.iter().find(|(_, problem)| problem.is_some());
        let ((resource, namespace), problem) = failed.or(unsynced.iter().next())?;
        let namespace = namespace.as_ref();
        let within = namespace.map_or(String::new(), |it| format!(" in namespace {it}"));
        let problem = problem.as_ref();
        let because = problem.map_or(String::new(), |it| format!(": {it}"));
        Some(format!(
            "waiting for the API server to list {resource}{within}{because}"
        ))
    }

    /// Waits until all watches have synced.
    pub async fn wait_until_synced(&self) {
        let mut unsynced = self.0.unsynced.subscribe();
        // The sender outlives the wait, so it cannot fail.
        let _ = unsynced.wait_for(BTreeMap::is_empty).await;
    }

    /// Waits until all watches have ended.
    pub async fn wait_until_stopped(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn run<K, V, F>(
        &self,
        id: WatchId,
        api: Api<K>,
        config: Config,
        store: &mut StoreWriter<V, F>,
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        F: Fn(K) -> Option<V>,
        V: PartialEq,
    {
        let mut events = pin!(watcher(api, config).backoff(ExponentialBackoff::from(RETRY_DELAYS)));
        let mut last_failure = None;
        // The backoff has no maximum number of attempts, so the stream does not end.
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let is_done = matches!(event, watcher::Event::InitDone);
                    // `Init` only announces an attempt to list, so it does not yet end an outage.
                    let is_init = matches!(event, watcher::Event::Init);
                    if store.apply_event(event) {
                        self.notify();
                    }
                    if is_done {
                        let unsynced = &self.0.unsynced;
                        unsynced.send_if_modified(|it| it.remove(&id).is_some());
                    }
                    if !is_init && last_failure.take().is_some() {
                        tracing::info!(resource = id.0, namespace = id.1, "the watch recovered");
                    }
                }
                Err(error) => {
                    let reason = self.count_failure(&id.0, &error);
                    // One line for as long as the reason stays the same, since the backoff retries
                    // forever. Compared by reason, since the error's text may differ each time.
                    if last_failure.replace(reason) != Some(reason) {
                        self.report_failure(&id, reason, &error);
                    }
                }
            }
        }
    }

    fn count_failure(&self, resource: &str, error: &watcher::Error) -> &'static str {
        let reason = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
                "NotInstalled"
            }
            watcher::Error::InitialListFailed(_) => "ListFailed",
            watcher::Error::WatchStartFailed(_) => "StartFailed",
            watcher::Error::WatchError(status) if status.code == 410 => "Expired",
            watcher::Error::WatchError(_) => "Refused",
            watcher::Error::WatchFailed(_) => "Broken",
            watcher::Error::NoResourceVersion => "NoResourceVersion",
        };
        let failure = [("resource", resource), ("reason", reason)];
        let failure = failure.map(|(name, value)| (name, value.to_owned()));
        self.0.failures.get_or_create(&failure).inc();
        reason
    }

    fn report_failure(&self, id: &WatchId, reason: &'static str, error: &watcher::Error) {
        let (resource, namespace) = id;
        let problem = match reason {
            "NotInstalled" => {
                "the cluster has no such resource; install Spoor's CustomResourceDefinitions \
                 (`spoor-operator crds apply`)"
                    .to_owned()
            }
            _ => with_causes(error),
        };
        tracing::warn!(
            error = problem,
            resource,
            namespace,
            reason,
            "the watch failed; retrying"
        );
        self.0.unsynced.send_if_modified(|unsynced| {
            let known = unsynced.get_mut(id);
            known.map(|known| *known = Some(problem)).is_some()
        });
    }
}
