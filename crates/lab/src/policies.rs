//! The lab's policies: accepted, saved, resolved and published, with their status.

mod folder;
mod known_services;
mod limits;
mod pipeline_decisions;
mod policy_set;
mod progress;
mod saved;
mod submitted;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_api::{
    SamplingPolicy, SamplingPolicyStatus,
    changes::{Action, Change, Comparison, differences},
    status::Condition,
};
use spoor_control::{Control, Evidence, TailCounts};
use spoor_policy::{
    Namespace, Outcome, PolicyKey, Resolution, ServiceName, Version, message::listed, resolve,
};
use spoor_status::{PolicyFindings, TailRules, unknown_operations, unknown_services, warnings};
use spoor_traces::Pipeline;

use self::{
    folder::{Folder, FolderFiles},
    known_services::KnownServices,
    pipeline_decisions::PipelineDecisions,
    policy_set::{Entry, PolicySet},
    saved::SavedFile,
};
use super::wire::{ApplyResult, Documents, FolderStatus};

pub use folder::FolderError;
pub(crate) use progress::Progress;
pub use saved::SaveError;
pub(crate) use submitted::MAX_ERRORS;

/// The most policies that one line of the log names, and the most errors of the folder that are
/// logged.
const MAX_LOGGED: usize = 5;

/// The policy store. Clones share it. Its methods may block on disk access, and on the lock that a
/// change or a listing holds.
#[derive(Clone)]
pub(crate) struct PolicyStore(Arc<Inner>);

struct Inner {
    control: Control,
    pipeline: Pipeline,
    file: SavedFile,
    folder: Option<Folder>,
    /// Held while a change is saved, and while the statuses of many policies are computed. No task
    /// may lock it on a thread of the async runtime, where the wait would delay every listener.
    state: Mutex<State>,
    folder_errors: Mutex<Vec<String>>,
    /// The folder's files as last read, and the version after they were applied or refused, so that the
    /// same files are not parsed again. Locked while the folder is read, but never by a request.
    folder_read: Mutex<Option<(FolderFiles, Version)>>,
    /// The next time at which a policy expires.
    next_expiry: tokio::sync::watch::Sender<Option<Timestamp>>,
}

struct State {
    set: PolicySet,
    resolution: Resolution,
    /// The times at which the folder's policies were first accepted, as saved by the last run.
    /// Empty once the folder's policies have been accepted.
    first_accepted: BTreeMap<PolicyKey, Timestamp>,
    /// The last reported conditions of each policy.
    conditions: BTreeMap<PolicyKey, Vec<Condition>>,
    decisions: PipelineDecisions,
}

/// The error of an operation on policies. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyStoreError {
    /// The policies are invalid: one message for each error.
    #[error("{}", .0.join("\n"))]
    Validate(Vec<String>),
    /// There is no policy of this name.
    #[error("policy {:?} not found{}", key.name.as_str(), found_elsewhere(key, others))]
    Find {
        /// The policy.
        key: PolicyKey,
        /// The namespaces that have a policy of this name.
        others: Vec<Namespace>,
    },
    /// The policy's file is in the watched folder.
    #[error("policy {:?} is in the watched folder {}; delete its file there", key.name.as_str(), folder.display())]
    DeleteFromFolder {
        /// The policy.
        key: PolicyKey,
        /// The folder.
        folder: PathBuf,
    },
    /// The change could not be saved.
    #[error("nothing was changed")]
    Save(#[from] SaveError),
}

/// The error of opening the policy store.
#[derive(Debug, thiserror::Error)]
pub enum OpenPolicyStoreError {
    /// The saved policies cannot be read.
    #[error(transparent)]
    ReadSaved(#[from] SaveError),
    /// The folder to watch cannot be read.
    #[error(transparent)]
    ReadFolder(#[from] FolderError),
}

impl PolicyStore {
    /// Opens the store: reads the saved policies and the folder, and publishes them.
    ///
    /// # Errors
    /// If the saved policies or the folder cannot be read. Invalid files in the folder are not an
    /// error here; [`PolicyStore::folder_status`] reports them until they are corrected.
    pub(crate) fn open(
        control: Control,
        pipeline: Pipeline,
        file: PathBuf,
        folder: Option<PathBuf>,
    ) -> Result<Self, OpenPolicyStoreError> {
        let folder = folder.map(Folder::new);
        // A folder that does not exist is a wrong setting, while its files may be corrected later.
        folder.as_ref().map_or(Ok(()), Folder::check)?;
        let file = SavedFile(file);
        let saved = file.read()?;
        let state = State {
            // The policies of the folder are added when it is read.
            set: PolicySet {
                applied: saved.applied,
                ..PolicySet::default()
            },
            resolution: Resolution::default(),
            first_accepted: saved.first_accepted,
            conditions: BTreeMap::new(),
            decisions: PipelineDecisions::new(&control, &pipeline),
        };
        let store = Self(Arc::new(Inner {
            control,
            pipeline,
            file,
            folder,
            state: Mutex::new(state),
            folder_errors: Mutex::default(),
            folder_read: Mutex::default(),
            next_expiry: tokio::sync::watch::Sender::new(None),
        }));
        store.read_folder();
        store.publish(&mut store.0.state.lock());
        Ok(store)
    }

    /// Applies all policies in the documents, or none.
    ///
    /// # Errors
    /// [`PolicyStoreError::Validate`] names file, line and field, or the limit on all policies together
    /// that is exceeded; [`PolicyStoreError::Save`] if the policies could not be saved. The earlier
    /// policies stay in force.
    pub(crate) fn apply(&self, documents: &Documents) -> Result<ApplyResult, PolicyStoreError> {
        let sent = submitted::read(&documents.documents).map_err(PolicyStoreError::Validate)?;
        // Held until the set is saved: of two concurrent changes, the later would otherwise undo the
        // earlier.
        let mut state = self.0.state.lock();
        let changed = state.set.clone().apply(&sent, Timestamp::now());
        let (set, actions) = changed.map_err(PolicyStoreError::Validate)?;
        let version = self.accept(&mut state, set, &actions)?;
        // A copy, since others would wait for the lock while names are read from the trace store.
        let (set, resolution) = (state.set.clone(), state.resolution.clone());
        drop(state);
        let warnings = self.warnings(&set, &resolution, &actions);
        let change = |(key, action): &(PolicyKey, Action)| Change {
            warnings: warnings.get(key).cloned().unwrap_or_default(),
            ..change(key, *action)
        };
        Ok(ApplyResult {
            policies: actions.iter().map(change).collect(),
            version: version.into(),
        })
    }

    /// Computes what applying the documents would change.
    ///
    /// # Errors
    /// [`PolicyStoreError::Validate`], as for [`PolicyStore::apply`].
    pub(crate) fn diff(&self, documents: &Documents) -> Result<Comparison, PolicyStoreError> {
        let sent = submitted::read(&documents.documents).map_err(PolicyStoreError::Validate)?;
        let now = Timestamp::now();
        // A copy, since resolving a thousand policies twice under the lock would delay requests.
        let before = self.0.state.lock().set.clone();
        let changed = before.clone().apply(&sent, now);
        let (set, actions) = changed.map_err(PolicyStoreError::Validate)?;
        let (before, after) = (before.policies(), set.policies());
        let resolution = resolve(&after, now);
        let warnings = self.warnings(&set, &resolution, &actions);
        let named = |(key, warnings): (PolicyKey, Vec<String>)| (key.to_string(), warnings);
        Ok(Comparison {
            differences: differences((&before, &resolve(&before, now)), (&after, &resolution)),
            warnings: warnings.into_iter().map(named).collect(),
        })
    }

    /// The warnings for the authors of those policies that were sent, by policy.
    fn warnings(
        &self,
        set: &PolicySet,
        resolution: &Resolution,
        sent: &[(PolicyKey, Action)],
    ) -> BTreeMap<PolicyKey, Vec<String>> {
        let mut known = KnownServices::of(&self.0, sent.iter().map(|(key, _)| key));
        let warn = |(key, _): &(PolicyKey, Action)| {
            let policy = &set.get(key)?.policy;
            let outcome = resolution.outcomes.get(key);
            let mut all = outcome.map(warnings).unwrap_or_default();
            all.extend(unknown_services(policy, known.for_policy(policy)));
            all.extend(unknown_operations(policy, |service| {
                known.operations(policy, service)
            }));
            Some((key.clone(), all))
        };
        sent.iter().filter_map(warn).collect()
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// If there is no such policy, the folder owns it, or the change could not be saved.
    pub(crate) fn delete(&self, key: &PolicyKey) -> Result<Change, PolicyStoreError> {
        let mut state = self.0.state.lock();
        if let (true, Some(folder)) = (state.set.folder.contains_key(key), &self.0.folder) {
            let folder = folder.path().to_owned();
            return Err(PolicyStoreError::DeleteFromFolder {
                key: key.clone(),
                folder,
            });
        }
        let mut set = state.set.clone();
        if set.applied.remove(key).is_none() {
            return Err(not_found(&state.set, key));
        }
        self.accept(&mut state, set, &[(key.clone(), Action::Deleted)])?;
        Ok(change(key, Action::Deleted))
    }

    /// All policies, or those of a namespace, with their status, sorted by namespace and name.
    pub(crate) fn list(&self, namespace: Option<&Namespace>) -> Vec<SamplingPolicy> {
        let mut state = self.0.state.lock();
        state.list(&self.0, |key| {
            namespace.is_none_or(|of| key.namespace == *of)
        })
    }

    /// The names of a namespace's policies that are effective at any place.
    pub(crate) fn effective(&self, namespace: &Namespace) -> Vec<String> {
        let state = self.0.state.lock();
        let outcomes = state.resolution.outcomes.iter();
        let of_namespace = outcomes.filter(|(key, _)| key.namespace == *namespace);
        let effective = of_namespace.filter(|(_, outcome)| !outcome.effective.is_empty());
        effective.map(|(key, _)| key.name.to_string()).collect()
    }

    /// One policy with its status.
    ///
    /// # Errors
    /// If there is no such policy.
    pub(crate) fn get(&self, key: &PolicyKey) -> Result<SamplingPolicy, PolicyStoreError> {
        let mut state = self.0.state.lock();
        let found = state.list(&self.0, |of| of == key).pop();
        found.ok_or_else(|| not_found(&state.set, key))
    }

    /// The status of the watched folder, if there is one.
    pub(crate) fn folder_status(&self) -> Option<FolderStatus> {
        let folder = self.0.folder.as_ref()?;
        let errors = self.0.folder_errors.lock().clone();
        Some(FolderStatus {
            path: folder.path().display().to_string(),
            errors,
        })
    }

    /// Saves a new set, then puts it in force.
    fn accept(
        &self,
        state: &mut State,
        set: PolicySet,
        actions: &[(PolicyKey, Action)],
    ) -> Result<Version, SaveError> {
        let changed = actions
            .iter()
            .filter(|(_, action)| *action != Action::Unchanged);
        let changed: Vec<&(PolicyKey, Action)> = changed.collect();
        if changed.is_empty() {
            // No new version, since the policies are the same.
            return Ok(self.0.control.version());
        }
        // Saved first, so that a policy in force still exists after a crash.
        self.0.file.write(&set, &state.first_accepted)?;
        state.set = set;
        tracing::info!(changes = described(&changed), "policies changed");
        for (key, _) in changed {
            // The conditions of the earlier policy do not apply to this one. If they were kept,
            // those of tail rules, which are in force at once, would keep their transition times.
            state.conditions.remove(key);
        }
        Ok(self.publish(state))
    }

    /// Resolves the policies as of now and publishes the result.
    #[tracing::instrument(skip_all, fields(otel.name = "publish policies", policies, version))]
    fn publish(&self, state: &mut State) -> Version {
        let policies = state.set.policies();
        state.resolution = resolve(&policies, Timestamp::now());
        let version = state.decisions.publish(&state.resolution);
        let span = tracing::Span::current();
        span.record("policies", policies.len());
        span.record("version", version.sequence);
        self.0
            .next_expiry
            .send_replace(state.resolution.next_expiry);
        version
    }
}

impl State {
    fn list(&mut self, inner: &Inner, filter: impl Fn(&PolicyKey) -> bool) -> Vec<SamplingPolicy> {
        let now = Timestamp::now();
        self.decisions.update();
        let entries = self.set.entries();
        let entries: Vec<&Entry> = entries.filter(|it| filter(&it.policy.key)).collect();
        // Read for all policies together, since there may be as many services as policies.
        let mut known = KnownServices::of(inner, entries.iter().map(|it| &it.policy.key));
        let mut evidence = inner.control.evidence_reader();
        let conditions = &mut self.conditions;
        entries
            .into_iter()
            .map(|entry| {
                let key = &entry.policy.key;
                let known = known.for_policy(&entry.policy);
                let status = self.resolution.outcomes.get(key).map(|outcome| {
                    let observed = (evidence.read(key), inner.control.tail_counts(key));
                    status(entry, outcome, &observed, known, conditions, now)
                });
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
    (evidence, decisions): &(Option<Evidence>, Option<TailCounts>),
    known: &BTreeSet<ServiceName>,
    conditions: &mut BTreeMap<PolicyKey, Vec<Condition>>,
    now: Timestamp,
) -> SamplingPolicyStatus {
    let key = &entry.policy.key;
    let previous = conditions.entry(key.clone()).or_default();
    let status = PolicyFindings {
        policy: &entry.policy,
        generation: entry.resource.metadata.generation,
        outcome,
        evidence: evidence.as_ref(),
        // The pipeline is in this process: it has them as soon as they are published.
        tail: TailRules::InForce,
        decisions: decisions.as_ref(),
        known,
        notes: &[],
        previous,
        now,
    }
    .status();
    previous.clone_from(&status.conditions);
    status
}

fn not_found(set: &PolicySet, key: &PolicyKey) -> PolicyStoreError {
    let keys = set.entries().map(|entry| &entry.policy.key);
    let others = keys.filter(|it| it.name == key.name);
    PolicyStoreError::Find {
        key: key.clone(),
        others: others.map(|it| it.namespace.clone()).collect(),
    }
}

/// The end of the message about a policy that was not found: the namespaces that have a policy of the
/// same name.
fn found_elsewhere(key: &PolicyKey, others: &[Namespace]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let others: Vec<&str> = others.iter().map(Namespace::as_str).collect();
    let (namespace, others) = (&key.namespace, others.join(", "));
    format!(" in namespace {namespace}; a policy of this name is in: {others}")
}

/// The changes for the log.
fn described(changed: &[&(PolicyKey, Action)]) -> String {
    let described = changed
        .iter()
        .map(|(key, action)| format!("{} {action}", key.name));
    listed(&described.collect::<Vec<_>>(), MAX_LOGGED)
}

fn change(key: &PolicyKey, action: Action) -> Change {
    Change {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        action,
        warnings: vec![],
    }
}
