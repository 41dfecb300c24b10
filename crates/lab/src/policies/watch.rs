//! Changes without a request: expiries, and changes of the watched folder.

use std::time::Duration;

use jiff::Timestamp;
use spoor_policy::{PolicyName, message::listed};
use spoor_runtime::with_causes;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_LOGGED, PolicyStore,
    folder::{Changes, Folder, FolderError},
    submitted,
};

/// The longest sleep before an expiry is compared with the clock again, which may have been set, or
/// have advanced while the computer was suspended.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// The minimum interval between updates of conditions while evidence arrives.
const MIN_UPDATE_INTERVAL: Duration = Duration::from_millis(200);
/// The minimum pause between updates, in multiples of the duration of the last one. With very many
/// policies and services they would otherwise keep a core busy.
const MIN_PAUSE_FACTOR: u32 = 4;

impl PolicyStore {
    /// Starts to watch the folder, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be watched.
    pub(crate) fn watch(&self) -> Result<Watch, FolderError> {
        let changes = self.0.folder.as_ref().map(Folder::watch).transpose()?;
        Ok(Watch {
            store: self.clone(),
            changes,
        })
    }

    /// Reads the folder and applies its policies, all or none.
    pub(super) fn read_folder(&self) {
        let Some(folder) = &self.0.folder else { return };
        // Without the lock: a slow disk must not delay requests.
        let read = folder.read();
        let mut state = self.0.state.lock();
        let sent = match read {
            Ok(documents) => submitted::read(&documents),
            Err(error) => Err(vec![with_causes(&error)]),
        };
        let replaced = sent.and_then(|sent| {
            let set = state.set.clone();
            set.replace_folder(&sent, &state.first_accepted, Timestamp::now())
        });
        match replaced {
            Ok((set, actions)) => {
                self.0.folder_errors.lock().clear();
                // The set contains those times from now on.
                state.first_accepted.clear();
                if let Err(error) = self.accept(&mut state, set, &actions) {
                    self.set_folder_errors(vec![with_causes(&error)]);
                }
            }
            Err(errors) => self.set_folder_errors(errors),
        }
    }
}

/// The task that handles expiries and changes of the folder.
pub(crate) struct Watch {
    store: PolicyStore,
    changes: Option<Changes>,
}

impl Watch {
    /// Runs until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) {
        // Blocking work in progress may last longer than the lab has time to stop.
        stop.run_until_cancelled(self.handle_changes()).await;
    }

    /// Handles changes. Never returns.
    async fn handle_changes(mut self) {
        let mut next_expiry = self.store.0.next_expiry.subscribe();
        let mut evidence = self.store.0.control.changed();
        let mut next_update = Instant::now();
        loop {
            let expiry = *next_expiry.borrow_and_update();
            tokio::select! {
                Ok(()) = next_expiry.changed() => {}
                () = sleep_until(expiry) => self.run_blocking(PolicyStore::resolve_if_expired).await,
                () = changed_after(next_update, &mut evidence) => {
                    let began = Instant::now();
                    // Listing updates the conditions, so that their transition times are those of
                    // the change and not of the next request.
                    self.run_blocking(|store| drop(store.list(None))).await;
                    let pause = began.elapsed() * MIN_PAUSE_FACTOR;
                    next_update = Instant::now() + pause.max(MIN_UPDATE_INTERVAL);
                }
                () = changed(&mut self.changes) => self.run_blocking(PolicyStore::read_folder).await,
            }
        }
    }

    /// Runs work that takes the store's lock, and may save files, on a thread that may block.
    async fn run_blocking(&self, work: fn(&PolicyStore)) {
        let store = self.store.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || work(&store)).await {
            tracing::error!(%error, "cannot update the policies");
        }
    }
}

impl PolicyStore {
    fn resolve_if_expired(&self) {
        let mut state = self.0.state.lock();
        let now = Timestamp::now();
        let next = state.resolution.next_expiry;
        if next.is_some_and(|expiry| expiry <= now) {
            let policies = state.set.entries().map(|entry| &entry.policy);
            let expired = policies.filter(|policy| policy.expires_at == next);
            let expired: Vec<&PolicyName> = expired.map(|policy| &policy.key.name).collect();
            tracing::info!("policy {} expired", listed(&expired, MAX_LOGGED));
            self.publish(&mut state);
        }
    }

    /// Records the folder's errors, and logs them if they changed.
    fn set_folder_errors(&self, errors: Vec<String>) {
        let mut last = self.0.folder_errors.lock();
        if *last != errors {
            tracing::error!(
                "the watched folder has errors, so its files are not applied; policies that it \
                 applied before stay in force:\n  {}",
                errors.join("\n  ")
            );
        }
        *last = errors;
    }
}

async fn changed(changes: &mut Option<Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until a time, and then for new evidence, which arrives often. Loses none when dropped.
async fn changed_after(time: Instant, evidence: &mut watch::Receiver<u64>) {
    tokio::time::sleep_until(time).await;
    if evidence.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn sleep_until(expiry: Option<Timestamp>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    let left = Duration::try_from(expiry.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left.min(MAX_SLEEP)).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{Arc, mpsc},
        thread,
    };

    use spoor_control::{Control, ControlSettings};
    use spoor_traces::{Pipeline, PipelineSettings};

    use super::*;

    #[tokio::test]
    async fn stop_does_not_wait_for_blocking_work() {
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("policies.json");
        let control = Control::new(ControlSettings::default());
        let stop = CancellationToken::new();
        let pipeline = Pipeline::start(PipelineSettings::default(), stop.clone());
        let store = PolicyStore::open(control.clone(), pipeline, saved, None).unwrap();
        let watch = store.watch().unwrap();

        // A thread holds the store's lock, for which the blocking work waits.
        let (locked, is_locked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let locking = store.clone();
        thread::spawn(move || {
            let _state = locking.0.state.lock();
            locked.send(()).unwrap();
            let _ = released.recv();
        });
        is_locked.recv().unwrap();
        let idle_clones = Arc::strong_count(&store.0);
        let running = tokio::spawn(watch.run(stop.clone()));
        let blocked = async {
            while Arc::strong_count(&store.0) == idle_clones {
                control.set_expected(vec![]);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let deadline = Duration::from_secs(10);
        tokio::time::timeout(deadline, blocked).await.unwrap();
        stop.cancel();
        let stopped = tokio::time::timeout(deadline, running).await;
        drop(release);
        stopped.unwrap().unwrap();
    }
}
