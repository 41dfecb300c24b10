//! Changes without a request: expiries, and changes of the watched folder.

use std::time::Duration;

use jiff::Timestamp;
use spoor_runtime::with_causes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    PolicyStore, State,
    folder::{Changes, Folder, FolderError},
    submitted,
};

/// The longest sleep before an expiry is compared with the clock again, which may have been set, or
/// have advanced while the computer was suspended.
const MAX_SLEEP: Duration = Duration::from_secs(30);
/// The minimum interval between updates of conditions while evidence arrives.
const MIN_UPDATE_INTERVAL: Duration = Duration::from_millis(200);

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
        let mut set = state.set.clone();
        let replaced = sent
            .and_then(|sent| set.replace_folder(&sent, &state.first_accepted, Timestamp::now()));
        match replaced {
            Ok(actions) => {
                state.folder_errors.clear();
                // Those times are in the set from now on.
                state.first_accepted.clear();
                if let Err(error) = self.accept(&mut state, set, &actions) {
                    set_folder_errors(&mut state, vec![with_causes(&error)]);
                }
            }
            Err(errors) => set_folder_errors(&mut state, errors),
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
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut evidence = self.store.0.control.changed();
        loop {
            let next_expiry = self.store.0.state.lock().resolution.next_expiry;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.store.0.resolved.notified() => {}
                () = sleep_until(next_expiry) => self.store.resolve_if_expired(),
                () = settled(&mut evidence) => {
                    // Listing updates the conditions, so that their transition times are those of
                    // the change and not of the next request.
                    let _policies = self.store.list(None);
                }
                () = changed(&mut self.changes) => {
                    // A task would block its thread while it reads and saves files.
                    let store = self.store.clone();
                    if let Err(error) = tokio::task::spawn_blocking(move || store.read_folder()).await {
                        tracing::error!(%error, "cannot read the policy folder");
                    }
                }
            }
        }
    }
}

impl PolicyStore {
    fn resolve_if_expired(&self) {
        let mut state = self.0.state.lock();
        let now = Timestamp::now();
        if state
            .resolution
            .next_expiry
            .is_some_and(|expiry| expiry <= now)
        {
            for entry in state.set.entries() {
                let expired = entry.policy.expires_at().filter(|expiry| *expiry <= now);
                if expired.is_some_and(|expiry| state.resolution.next_expiry == Some(expiry)) {
                    tracing::info!("policy {} expired", entry.policy.key().name);
                }
            }
            self.publish(&mut state);
        }
    }
}

/// Records the folder's errors, and logs them if they changed.
fn set_folder_errors(state: &mut State, errors: Vec<String>) {
    if state.folder_errors != errors {
        tracing::error!(
            "the watched folder has errors; its last valid policies stay in force:\n  {}",
            errors.join("\n  ")
        );
    }
    state.folder_errors = errors;
}

async fn changed(changes: &mut Option<Changes>) {
    match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for new evidence, and then for a moment, since evidence arrives often.
async fn settled(evidence: &mut watch::Receiver<u64>) {
    if evidence.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(MIN_UPDATE_INTERVAL).await;
}

async fn sleep_until(expiry: Option<Timestamp>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    let left = Duration::try_from(expiry.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left.min(MAX_SLEEP)).await;
}
