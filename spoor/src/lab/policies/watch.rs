//! What changes policies without anybody's request: their expiry, and the watched folder.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Desk, State,
    folder::{Changes, Folder, FolderError},
    sent,
};

/// Clocks are set, and a computer sleeps: the time of an expiry is looked at again so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Conditions are looked at so often while evidence comes in.
const EVIDENCE_PAUSE: Duration = Duration::from_millis(200);

impl Desk {
    /// Starts the watch over the folder, if there is one.
    ///
    /// # Errors
    /// When it can't be watched.
    pub fn watch(&self) -> Result<Watch, FolderError> {
        let changes = self.0.folder.as_ref().map(Folder::watch).transpose()?;
        Ok(Watch {
            desk: self.clone(),
            changes,
        })
    }

    /// Reads the folder and takes up what is there, all or nothing.
    pub(super) fn read_folder(&self) {
        let Some(folder) = &self.0.folder else { return };
        let read = folder.read();
        let mut state = self.0.state.lock();
        let sent = match read {
            Ok(documents) => sent::read(&documents),
            Err(error) => Err(vec![format!("{:#}", anyhow::Error::new(error))]),
        };
        let mut book = state.book.clone();
        let replaced = sent
            .and_then(|sent| book.replace_folder(&sent, &state.first_accepted, Timestamp::now()));
        match replaced {
            Ok(actions) => {
                state.folder_errors.clear();
                state.first_accepted.clear();
                if let Err(error) = self.accept(&mut state, book, &actions) {
                    note(&mut state, vec![format!("{:#}", anyhow::Error::new(error))]);
                }
            }
            Err(errors) => note(&mut state, errors),
        }
    }
}

/// Waits for expiries and for changes of the folder.
pub struct Watch {
    desk: Desk,
    changes: Option<Changes>,
}

impl Watch {
    /// Acts on them, until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut evidence = self.desk.0.control.changed();
        loop {
            let next_expiry = self.desk.0.state.lock().resolution.next_expiry;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.desk.0.resolved.notified() => {}
                () = sleep_until(next_expiry) => self.desk.resolve_if_expired(),
                () = settled(&mut evidence) => {
                    // So that conditions have the time of their change, not of the next look.
                    let _seen = self.desk.list(None);
                }
                () = changed(&mut self.changes) => {
                    let desk = self.desk.clone();
                    if let Err(error) = tokio::task::spawn_blocking(move || desk.read_folder()).await {
                        tracing::error!("reading the folder of policies failed: {error}");
                    }
                }
            }
        }
    }
}

impl Desk {
    fn resolve_if_expired(&self) {
        let mut state = self.0.state.lock();
        let now = Timestamp::now();
        if state
            .resolution
            .next_expiry
            .is_some_and(|expiry| expiry <= now)
        {
            for entry in state.book.entries() {
                let expired = entry.policy.expires_at().filter(|expiry| *expiry <= now);
                if expired.is_some_and(|expiry| state.resolution.next_expiry == Some(expiry)) {
                    tracing::info!("policy {} expired", entry.policy.key().name);
                }
            }
            self.publish(&mut state);
        }
    }
}

/// Says what is wrong, once.
fn note(state: &mut State, errors: Vec<String>) {
    if state.folder_errors != errors {
        tracing::error!(
            "the watched folder is not taken up, its last good policies hold:\n  {}",
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

/// Returns some time after new evidence: it comes often.
async fn settled(evidence: &mut watch::Receiver<u64>) {
    if evidence.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(EVIDENCE_PAUSE).await;
}

async fn sleep_until(expiry: Option<Timestamp>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    let left = Duration::try_from(expiry.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
}
