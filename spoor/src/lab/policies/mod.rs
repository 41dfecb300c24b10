//! The lab's policies: taken in, kept, resolved, published, and what became of them.

mod book;
mod difference;
mod folder;
mod kept;
mod progress;
mod sent;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_api::{SamplingPolicy, SamplingPolicyStatus, status::Condition};
use spoor_control::Control;
use spoor_policy::{Namespace, Outcome, Policy, PolicyKey, Resolution, Version, resolve};
use spoor_status::{Findings, TailRules, unknown_services, warnings};
use spoor_traces::Pipeline;
use tokio::sync::Notify;

use self::{
    book::{Book, Entry},
    folder::Folder,
    kept::Keep,
};
use super::admin::{Action, Applied, Change, Comparison, Documents, FolderStatus};

pub use folder::FolderError;
pub use kept::KeepError;
pub use progress::Progress;

/// Where policies come in. Clones share it; what blocks is only the disk.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    control: Control,
    pipeline: Pipeline,
    keep: Keep,
    folder: Option<Folder>,
    state: Mutex<State>,
    /// Something was resolved: the next expiry may be another.
    resolved: Notify,
}

struct State {
    book: Book,
    resolution: Resolution,
    /// When the folder's policies were first accepted, as the last run kept it; empty once the
    /// folder was taken up.
    first_accepted: BTreeMap<PolicyKey, Timestamp>,
    folder_errors: Vec<String>,
    /// What was last said of each policy.
    conditions: BTreeMap<PolicyKey, Vec<Condition>>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// What was sent is wrong in these places.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    /// There is none of this name.
    #[error("no policy {0}")]
    NotFound(PolicyKey),
    /// Its file is in the watched folder.
    #[error("policy {:?} is in the watched folder {}: delete its file there", key.name.as_str(), folder.display())]
    OwnedByFolder {
        /// The policy.
        key: PolicyKey,
        /// The folder.
        folder: PathBuf,
    },
    /// It could not be written down.
    #[error("nothing was changed")]
    Keep(#[from] KeepError),
}

/// Why the lab's policies can't be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Those that were kept can't be read.
    #[error(transparent)]
    Kept(#[from] KeepError),
    /// The folder to watch can't be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl Desk {
    /// Takes up what was kept and what is in the folder, and publishes it.
    ///
    /// # Errors
    /// When the kept file or the folder can't be read. A folder with something wrong in its
    /// files is no error: it shows in [`Desk::folder_status`] until it is put right.
    pub fn open(
        control: Control,
        pipeline: Pipeline,
        kept: PathBuf,
        folder: Option<PathBuf>,
    ) -> Result<Self, OpenError> {
        let folder = folder.map(Folder::new);
        folder.as_ref().map_or(Ok(()), Folder::check)?;
        let keep = Keep::new(kept);
        let kept = keep.read()?;
        let state = State {
            book: Book::of(kept.applied),
            resolution: Resolution::default(),
            first_accepted: kept.first_accepted,
            folder_errors: vec![],
            conditions: BTreeMap::new(),
        };
        let desk = Self(Arc::new(Inner {
            control,
            pipeline,
            keep,
            folder,
            state: Mutex::new(state),
            resolved: Notify::new(),
        }));
        desk.read_folder();
        desk.resolve();
        Ok(desk)
    }

    /// Takes in all policies of all documents, or none.
    ///
    /// # Errors
    /// [`DeskError::Invalid`] names file, line and field; [`DeskError::Keep`] when they could
    /// not be written down. What was in force stays.
    pub fn apply(&self, documents: &Documents) -> Result<Applied, DeskError> {
        let sent = sent::read(&documents.documents).map_err(DeskError::Invalid)?;
        let mut state = self.0.state.lock();
        let mut book = state.book.clone();
        let actions = book
            .apply(&sent, Timestamp::now())
            .map_err(DeskError::Invalid)?;
        let version = self.accept(&mut state, book, &actions)?;
        let policies = state.book.policies();
        let warnings = self.warnings(&policies, &state.resolution);
        let change = |(key, action): &(PolicyKey, Action)| Change {
            warnings: warnings.get(key).cloned().unwrap_or_default(),
            ..change(key, *action)
        };
        Ok(Applied {
            policies: actions.iter().map(change).collect(),
            version: version.into(),
        })
    }

    /// What taking them in would change, without doing it.
    ///
    /// # Errors
    /// As [`Desk::apply`].
    pub fn diff(&self, documents: &Documents) -> Result<Comparison, DeskError> {
        let sent = sent::read(&documents.documents).map_err(DeskError::Invalid)?;
        let now = Timestamp::now();
        let before = self.0.state.lock().book.clone();
        let mut after = before.clone();
        let actions = after.apply(&sent, now).map_err(DeskError::Invalid)?;
        let (before, after) = (before.policies(), after.policies());
        let resolution = resolve(&after, now);
        let mut warnings = self.warnings(&after, &resolution);
        warnings.retain(|key, _| actions.iter().any(|(sent, _)| sent == key));
        let named = |(key, warnings): (PolicyKey, Vec<String>)| (key.name.to_string(), warnings);
        Ok(Comparison {
            differences: difference::differences(
                (&before, &resolve(&before, now)),
                (&after, &resolution),
            ),
            warnings: warnings.into_iter().map(named).collect(),
        })
    }

    /// How far these policies have come, those that exist.
    #[must_use]
    pub fn progress(&self, keys: &[PolicyKey]) -> Vec<Progress> {
        keys.iter()
            .filter_map(|key| {
                let evidence = self.0.control.evidence(key);
                Some(Progress::of(&self.get(key)?, evidence.as_ref()))
            })
            .collect()
    }

    /// What the authors of policies should know, by policy.
    fn warnings(
        &self,
        policies: &[Policy],
        resolution: &Resolution,
    ) -> BTreeMap<PolicyKey, Vec<String>> {
        let warn = |policy: &Policy| {
            let key = policy.key();
            let known = self.0.control.known_services(&key.namespace);
            let outcome = resolution.outcomes.get(key);
            let mut all = outcome.map(warnings).unwrap_or_default();
            all.extend(unknown_services(policy, &known));
            (key.clone(), all)
        };
        policies.iter().map(warn).collect()
    }

    /// Takes one out.
    ///
    /// # Errors
    /// When there is none, when the folder owns it, when that could not be written down.
    pub fn delete(&self, key: &PolicyKey) -> Result<Change, DeskError> {
        let mut state = self.0.state.lock();
        if let (true, Some(folder)) = (state.book.folder_owns(key), &self.0.folder) {
            let folder = folder.path().to_owned();
            return Err(DeskError::OwnedByFolder {
                key: key.clone(),
                folder,
            });
        }
        let mut book = state.book.clone();
        if !book.delete(key) {
            return Err(DeskError::NotFound(key.clone()));
        }
        self.accept(&mut state, book, &[(key.clone(), Action::Deleted)])?;
        Ok(change(key, Action::Deleted))
    }

    /// All policies, or a namespace's, with their status, by name.
    #[must_use]
    pub fn list(&self, namespace: Option<&Namespace>) -> Vec<SamplingPolicy> {
        let mut state = self.0.state.lock();
        state.shown(&self.0.control, |key| {
            namespace.is_none_or(|of| key.namespace == *of)
        })
    }

    /// One policy with its status.
    #[must_use]
    pub fn get(&self, key: &PolicyKey) -> Option<SamplingPolicy> {
        let mut state = self.0.state.lock();
        state.shown(&self.0.control, |of| of == key).pop()
    }

    /// How the watched folder does, if there is one.
    #[must_use]
    pub fn folder_status(&self) -> Option<FolderStatus> {
        let folder = self.0.folder.as_ref()?;
        let errors = self.0.state.lock().folder_errors.clone();
        Some(FolderStatus {
            path: folder.path().display().to_string(),
            errors,
        })
    }

    /// Writes a new book down, then puts it in force.
    fn accept(
        &self,
        state: &mut State,
        book: Book,
        actions: &[(PolicyKey, Action)],
    ) -> Result<Version, KeepError> {
        if actions
            .iter()
            .all(|(_, action)| *action == Action::Unchanged)
        {
            return Ok(self.0.control.version());
        }
        self.0.keep.write(&book, &state.first_accepted)?;
        state.book = book;
        for (key, action) in actions
            .iter()
            .filter(|(_, action)| *action != Action::Unchanged)
        {
            tracing::info!("policy {} {}", key.name, action.word());
        }
        Ok(self.publish(state))
    }

    /// Resolves what there is at this moment and puts it in force.
    fn resolve(&self) {
        let mut state = self.0.state.lock();
        self.publish(&mut state);
    }

    fn publish(&self, state: &mut State) -> Version {
        let policies = state.book.policies();
        state.resolution = resolve(&policies, Timestamp::now());
        let keys: BTreeSet<&PolicyKey> = policies.iter().map(Policy::key).collect();
        state.conditions.retain(|key, _| keys.contains(key));
        self.0.pipeline.set_tail(state.resolution.tail.clone());
        let version = self.0.control.publish(state.resolution.clone());
        self.0.resolved.notify_one();
        version
    }
}

impl State {
    fn shown(
        &mut self,
        control: &Control,
        wanted: impl Fn(&PolicyKey) -> bool,
    ) -> Vec<SamplingPolicy> {
        let now = Timestamp::now();
        let Self {
            book,
            resolution,
            conditions,
            ..
        } = self;
        let entries = book.entries().filter(|entry| wanted(entry.policy.key()));
        entries
            .map(|entry| {
                let outcome = resolution.outcomes.get(entry.policy.key());
                let status =
                    outcome.map(|outcome| status(entry, outcome, control, conditions, now));
                SamplingPolicy {
                    status,
                    ..entry.resource.clone()
                }
            })
            .collect()
    }
}

fn status(
    entry: &Entry,
    outcome: &Outcome,
    control: &Control,
    conditions: &mut BTreeMap<PolicyKey, Vec<Condition>>,
    now: Timestamp,
) -> SamplingPolicyStatus {
    let key = entry.policy.key();
    let previous = conditions.entry(key.clone()).or_default();
    let status = Findings {
        policy: &entry.policy,
        generation: entry.resource.metadata.generation,
        outcome,
        evidence: control.evidence(key).as_ref(),
        // The pipeline is in this process: it has them as soon as they are published.
        tail: TailRules::InForce,
        known: &control.known_services(&key.namespace),
        notes: &[],
        previous,
        now,
    }
    .status();
    previous.clone_from(&status.conditions);
    status
}

fn change(key: &PolicyKey, action: Action) -> Change {
    Change {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        action,
        warnings: vec![],
    }
}
