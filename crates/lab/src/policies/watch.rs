//! Changes without a request: expiries, and changes of the watched folder.

use std::time::Duration;

use jiff::Timestamp;
use spoor_policy::{PolicyName, Version, message::listed};
use spoor_runtime::with_causes;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    MAX_LOGGED, PolicyStore,
    folder::{Changes, Folder, FolderError, FolderFiles},
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
        let mut last_read = self.0.folder_read.lock();
        let before = last_read.take();
        // Without the lock of the state: neither a slow disk nor long files may delay requests.
        let files = match folder.read() {
            Ok(files) => files,
            Err(error) => return self.set_folder_errors(vec![with_causes(&error)]),
        };
        // Under another version, other policies may have been applied that conflict with the folder's.
        let is_same = |(before, version): &(FolderFiles, Version)| {
            *before == files && *version == self.0.control.version()
        };
        if before.as_ref().is_some_and(is_same) {
            *last_read = before;
            return;
        }
        let (documents, unreadable) = &files;
        let sent = match submitted::read(documents) {
            Ok(sent) if unreadable.is_empty() => Ok(sent),
            // The errors of all files are reported together.
            sent => Err([unreadable.clone(), sent.err().unwrap_or_default()].concat()),
        };
        let mut state = self.0.state.lock();
        let replaced = sent.and_then(|sent| {
            let set = state.set.clone();
            set.replace_folder(&sent, &state.first_accepted, Timestamp::now())
        });
        let errors = match replaced {
            Ok((set, actions)) => {
                // The set contains those times from now on.
                let first_accepted = std::mem::take(&mut state.first_accepted);
                if let Err(error) = self.accept(&mut state, set, &actions) {
                    state.first_accepted = first_accepted;
                    // Without `last_read`, the next read tries again: the disk may have room then.
                    return self.set_folder_errors(vec![with_causes(&error)]);
                }
                vec![]
            }
            Err(errors) => errors,
        };
        *last_read = Some((files, self.0.control.version()));
        self.set_folder_errors(errors);
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
        let Self { store, changes } = self;
        // Concurrently, since reading the folder may take seconds, which must not delay expiries.
        let handled = async {
            tokio::join!(
                store.handle_expiries(),
                store.handle_folder_changes(changes)
            )
        };
        // Blocking work in progress may last longer than the lab has time to stop.
        stop.run_until_cancelled(handled).await;
    }
}

impl PolicyStore {
    /// Handles expiries and changes of conditions. Never returns.
    async fn handle_expiries(&self) {
        let mut next_expiry = self.0.next_expiry.subscribe();
        let mut evidence = self.0.control.changed();
        let mut next_update = Instant::now();
        loop {
            let expiry = *next_expiry.borrow_and_update();
            tokio::select! {
                Ok(()) = next_expiry.changed() => {}
                () = sleep_until(expiry) => self.run_blocking(Self::resolve_if_expired).await,
                () = changed_after(next_update, &mut evidence) => {
                    let began = Instant::now();
                    // Listing updates the conditions, so that their transition times are those of
                    // the change and not of the next request.
                    self.run_blocking(|store| drop(store.list(None))).await;
                    let pause = began.elapsed() * MIN_PAUSE_FACTOR;
                    next_update = Instant::now() + pause.max(MIN_UPDATE_INTERVAL);
                }
            }
        }
    }

    /// Reads the folder after each change. Returns only if there is no folder.
    async fn handle_folder_changes(&self, changes: Option<Changes>) {
        let Some(mut changes) = changes else { return };
        loop {
            changes.next().await;
            self.run_blocking(Self::read_folder).await;
        }
    }

    /// Runs work that takes the store's lock, and may save files, on a thread that may block.
    async fn run_blocking(&self, work: fn(&Self)) {
        let store = self.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || work(&store)).await {
            tracing::error!(%error, "cannot update the policies");
        }
    }

    fn resolve_if_expired(&self) {
        let mut state = self.0.state.lock();
        let now = Timestamp::now();
        let next = state.resolution.next_expiry;
        if next.is_some_and(|expiry| expiry <= now) {
            let policies = state.set.entries().map(|entry| &entry.policy);
            let expired = policies.filter(|policy| policy.expires_at == next);
            let expired: Vec<&PolicyName> = expired.map(|policy| &policy.key.name).collect();
            let policies = listed(&expired, MAX_LOGGED);
            tracing::info!(policies, "policies expired");
            self.publish(&mut state);
        }
    }

    /// Records the folder's errors, and logs them if they changed.
    fn set_folder_errors(&self, errors: Vec<String>) {
        let mut last = self.0.folder_errors.lock();
        if *last != errors && !errors.is_empty() {
            tracing::error!(
                "the watched folder has errors, so its files are not applied; policies that were \
                 applied from it before stay in force:\n  {}",
                first_errors(&errors)
            );
        }
        *last = errors;
    }
}

/// The first errors for the log, each on its own line, and the number of the others.
fn first_errors(errors: &[String]) -> String {
    let (first, others) = errors.split_at(errors.len().min(MAX_LOGGED));
    let mut lines = first.join("\n  ");
    if !others.is_empty() {
        let count = others.len();
        lines += &format!("\n  and {count} more, which `spoor get policies` prints");
    }
    lines
}

/// Waits until a time, and then for new evidence, which arrives often. This function is cancel safe.
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
        fs,
        path::Path,
        sync::{Arc, mpsc},
        thread,
    };

    use spoor_control::{Control, ControlSettings};
    use spoor_policy::{Namespace, PolicyKey};
    use spoor_traces::{Pipeline, PipelineSettings};

    use super::*;
    use spoor_api::changes::Document;

    use crate::wire::Documents;

    /// A store in a folder, whose subfolder `watched` is watched.
    fn store_in(folder: &Path) -> PolicyStore {
        fs::create_dir(folder.join("watched")).unwrap();
        open_in(folder)
    }

    /// Opens a store in a folder that had one before.
    fn open_in(folder: &Path) -> PolicyStore {
        let watched = folder.join("watched");
        let pipeline = Pipeline::start(PipelineSettings::default(), CancellationToken::new());
        let control = Control::new(ControlSettings::default());
        let saved = folder.join("policies.json");
        PolicyStore::open(control, pipeline, saved, Some(watched)).unwrap()
    }

    /// A policy `a` with this line in its `spec`.
    fn policy(line: &str) -> String {
        format!(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata: {{name: a}}\n\
             spec:\n  head: {{probability: 1%}}\n  {line}\n"
        )
    }

    fn apply(store: &PolicyStore, text: &str) {
        let document = Document {
            source: "applied".to_owned(),
            text: text.to_owned(),
        };
        let documents = vec![document];
        store.apply(&Documents { documents }).unwrap();
    }

    #[tokio::test]
    async fn unchanged_folder_is_applied_after_a_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        let text = policy("priority: 1");
        apply(&store, &text);
        fs::write(folder.path().join("watched/a.yaml"), text).unwrap();
        for _ in 0..2 {
            store.read_folder();
            let errors = store.folder_status().unwrap().errors;
            assert!(errors[0].contains("was applied before"), "{errors:?}");
        }
        let key = PolicyKey {
            namespace: Namespace::default(),
            name: "a".parse().unwrap(),
        };
        store.delete(&key).unwrap();
        store.read_folder();
        let errors = store.folder_status().unwrap().errors;
        assert!(errors.is_empty(), "{errors:?}");
        assert!(store.get(&key).is_ok());
    }

    #[tokio::test]
    async fn creation_time_survives_a_failed_save() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        fs::write(folder.path().join("watched/a.yaml"), policy("priority: 1")).unwrap();
        store.read_folder();
        let key = PolicyKey {
            namespace: Namespace::default(),
            name: "a".parse().unwrap(),
        };
        let created = store.get(&key).unwrap().metadata.creation_timestamp;
        drop(store);

        // The file cannot be replaced while a folder has the name of the new one.
        let blocking = folder.path().join("policies.new");
        fs::create_dir(&blocking).unwrap();
        let store = open_in(folder.path());
        assert!(!store.folder_status().unwrap().errors.is_empty());
        fs::remove_dir(&blocking).unwrap();
        store.read_folder();
        let again = store.get(&key).unwrap().metadata.creation_timestamp;
        assert_eq!(again, created);
    }

    #[tokio::test]
    async fn unreadable_file_does_not_hide_other_errors() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        let watched = |name: &str| folder.path().join("watched").join(name);
        let large = fs::File::create(watched("large.yaml")).unwrap();
        large.set_len(1 << 30).unwrap();
        fs::write(watched("a.yaml"), policy("priority: 1")).unwrap();
        fs::write(watched("b.yaml"), policy("priority: first")).unwrap();
        store.read_folder();
        let errors = store.folder_status().unwrap().errors;
        assert!(errors[0].contains("large.yaml: the file is"), "{errors:?}");
        assert!(errors[1].contains("b.yaml:"), "{errors:?}");
        assert!(store.list(None).is_empty());
        fs::remove_file(watched("b.yaml")).unwrap();
        fs::remove_file(watched("large.yaml")).unwrap();
        store.read_folder();
        assert!(store.folder_status().unwrap().errors.is_empty());
        assert_eq!(store.list(None).len(), 1);
    }

    #[tokio::test]
    async fn policies_expire_while_the_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = store_in(folder.path());
        let expiry = Timestamp::now() + Duration::from_millis(500);
        apply(&store, &policy(&format!("expiresAt: {expiry}")));

        // A thread holds the lock of a read in progress, as if a file blocked it.
        let (locked, is_locked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let locking = store.clone();
        thread::spawn(move || {
            let _reading = locking.0.folder_read.lock();
            locked.send(()).unwrap();
            let _ = released.recv();
        });
        is_locked.recv().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(store.watch().unwrap().run(stop.clone()));
        let expired = async {
            while !store.effective(&Namespace::default()).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let expired = tokio::time::timeout(Duration::from_secs(10), expired).await;
        drop(release);
        stop.cancel();
        running.await.unwrap();
        assert!(expired.is_ok());
    }

    #[test]
    fn log_has_the_first_errors_and_counts_the_rest() {
        let errors: Vec<String> = (1..=7).map(|number| format!("error {number}")).collect();
        assert_eq!(first_errors(&errors[..1]), "error 1");
        let logged = first_errors(&errors);
        let expected = "error 5\n  and 2 more, which `spoor get policies` prints";
        assert!(logged.starts_with("error 1\n  error 2\n"), "{logged}");
        assert!(logged.ends_with(expected), "{logged}");
    }

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
