//! What is in the cluster, as far as it matters here: followed, trimmed and kept in memory.

mod backoff;
mod store;

use std::{fmt::Debug, future::Future, pin::pin, sync::Arc};

use futures_util::StreamExt;
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Config, watcher},
    },
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use backoff::Backoff;
pub use store::{Key, Watched};
use store::{Store, keeps};

/// A watch ends by itself after this time and begins anew where it ended, so that a connection
/// that is dead without a word is noticed soon.
const WATCH_SECONDS: u32 = 60;

/// Objects in one answer to a list: what they take while they are read is not given back.
const PAGE: u32 = 50;

/// The watches of a role. Clones share them.
#[derive(Clone, Debug)]
pub struct Watches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    changed: watch::Sender<u64>,
    /// Counts down to zero as watches become complete.
    missing: watch::Sender<usize>,
    failures: Family<Failure, Counter>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    resource: &'static str,
    reason: &'static str,
}

impl Watches {
    /// None yet; all of them end with `stop`.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            changed: watch::Sender::new(0),
            missing: watch::Sender::new(0),
            failures: Family::default(),
            stop,
            tasks: TaskTracker::new(),
        }))
    }

    /// Registers the metrics, under `spoor_operator_`.
    pub fn register(&self, registry: &mut Registry) {
        registry
            .sub_registry_with_prefix("spoor_operator")
            .register(
                "watch_failures",
                "Watches that broke and began anew, by resource and reason",
                self.0.failures.clone(),
            );
    }

    /// Follows objects, and keeps of each what `keep` makes of it, if anything. The name is the
    /// resource's, for logs and metrics.
    pub fn start<K, V>(
        &self,
        name: &'static str,
        api: Api<K>,
        config: Config,
        keep: impl Fn(K) -> Option<V> + Send + 'static,
    ) -> Watched<V>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        V: PartialEq + Send + Sync + 'static,
    {
        let (mut store, watched) = keeps(keep);
        let inner = self.0.clone();
        inner.missing.send_modify(|missing| *missing += 1);
        let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
        self.0.tasks.spawn(async move {
            let stop = inner.stop.clone();
            stop.run_until_cancelled(inner.follow(name, api, config, &mut store))
                .await;
        });
        watched
    }

    /// Ticks when anything that is kept has changed.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Whether every watch has seen all there is.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        *self.0.missing.borrow() == 0
    }

    /// Waits until they have.
    pub fn complete(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut missing = self.0.missing.subscribe();
        async move {
            if missing.wait_for(|missing| *missing == 0).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Waits until all watches have ended.
    pub async fn ended(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    async fn follow<K, V, F>(
        &self,
        name: &'static str,
        api: Api<K>,
        config: Config,
        store: &mut Store<V, F>,
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
        F: Fn(K) -> Option<V>,
        V: PartialEq,
    {
        let mut events = pin!(watcher(api, config).backoff(Backoff::default()));
        let mut is_complete = false;
        // Its backoff never gives up, so the stream has no end.
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let is_done = matches!(event, watcher::Event::InitDone);
                    if store.take(event) {
                        self.changed
                            .send_modify(|ticks| *ticks = ticks.wrapping_add(1));
                    }
                    if is_done && !is_complete {
                        is_complete = true;
                        self.missing.send_modify(|missing| *missing -= 1);
                    }
                }
                Err(error) => self.broken(name, &error),
            }
        }
    }

    fn broken(&self, resource: &'static str, error: &watcher::Error) {
        let reason = match error {
            watcher::Error::InitialListFailed(_) => "ListFailed",
            watcher::Error::WatchStartFailed(_) => "StartFailed",
            watcher::Error::WatchError(status) if status.code == 410 => "Expired",
            watcher::Error::WatchError(_) => "Refused",
            watcher::Error::WatchFailed(_) => "Broken",
            watcher::Error::NoResourceVersion => "NoResourceVersion",
        };
        let failure = Failure { resource, reason };
        self.failures.get_or_create(&failure).inc();
        tracing::warn!(
            error = error as &dyn std::error::Error,
            resource,
            reason,
            "a watch broke: it begins anew"
        );
    }
}
