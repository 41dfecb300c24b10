//! A backend in memory, for tests.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use spoor_api::{
    SamplingPolicy, SamplingPolicyStatus,
    changes::{Action, Change, Comparison, Document, differences},
    read,
};
use spoor_policy::{Outcome, Policy, PolicyKey, resolve};
use spoor_status::{PolicyFindings, TailRules, warnings};
use spoor_traces::{Search, TraceId, figures::ServiceFigures};
use tokio::sync::watch;

use crate::{
    backend::{Backend, BackendError, FoundTraces, Source, SourceKind, TraceSpans},
    lessons::Lessons,
};

type Policies = BTreeMap<PolicyKey, SamplingPolicy>;

/// A lab without services. It resolves its policies as the lab does.
pub(crate) struct FakeBackend {
    source: Source,
    policies: Mutex<Policies>,
    changes: watch::Sender<u64>,
    problem: Mutex<Option<String>>,
    /// The result of every search.
    pub found: Mutex<FoundTraces>,
    pub traces: Mutex<BTreeMap<TraceId, TraceSpans>>,
    /// The names of the operations by service.
    pub operations: Mutex<BTreeMap<String, Vec<String>>>,
    pub figures: Mutex<ServiceFigures>,
    pub lessons: Option<Arc<dyn Lessons>>,
}

impl Default for FakeBackend {
    fn default() -> Self {
        Self {
            source: Source {
                kind: SourceKind::Lab,
                name: "127.0.0.1:16600".to_owned(),
                namespace: None,
            },
            policies: Mutex::default(),
            changes: watch::Sender::new(0),
            problem: Mutex::default(),
            found: Mutex::default(),
            traces: Mutex::default(),
            operations: Mutex::default(),
            figures: Mutex::default(),
            lessons: None,
        }
    }
}

impl FakeBackend {
    /// Applies valid policies.
    pub(crate) fn apply_text(&self, text: &str) {
        self.put_all(&document(text)).unwrap();
    }

    /// All policies with their status.
    pub(crate) fn listed(&self) -> Vec<SamplingPolicy> {
        let policies = self.policies.lock();
        let valid = validated(&policies);
        let resolution = resolve(&valid, Timestamp::now());
        let with_status = |(resource, policy): (&SamplingPolicy, &Policy)| {
            let outcome = resolution.outcomes.get(&policy.key).unwrap();
            SamplingPolicy {
                status: Some(status(resource, policy, outcome)),
                ..resource.clone()
            }
        };
        policies.values().zip(&valid).map(with_status).collect()
    }

    /// Makes all requests fail for this reason, or none.
    pub(crate) fn fail(&self, reason: Option<&str>) {
        *self.problem.lock() = reason.map(str::to_owned);
        self.notify();
    }

    fn check(&self) -> Result<(), BackendError> {
        let problem = self.problem.lock().clone();
        problem.map_or(Ok(()), |reason| Err(BackendError::Reach(reason)))
    }

    fn notify(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn put_all(&self, document: &Document) -> Result<Vec<Change>, BackendError> {
        let mut policies = self.policies.lock();
        let changes = put_all(&mut policies, document)?;
        drop(policies);
        self.notify();
        Ok(changes)
    }
}

#[async_trait]
impl Backend for FakeBackend {
    fn source(&self) -> &Source {
        &self.source
    }

    fn policy_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn policies(&self) -> Result<Vec<SamplingPolicy>, BackendError> {
        self.check()?;
        Ok(self.listed())
    }

    async fn policy(&self, key: &PolicyKey) -> Result<SamplingPolicy, BackendError> {
        self.check()?;
        let position = self.policies.lock().keys().position(|other| other == key);
        let found = position.map(|at| self.listed().swap_remove(at));
        found.ok_or_else(|| not_found(key))
    }

    async fn diff(&self, document: Document) -> Result<Comparison, BackendError> {
        self.check()?;
        let policies = self.policies.lock().clone();
        let mut changed = policies.clone();
        let changes = put_all(&mut changed, &document)?;
        let (before, after) = (validated(&policies), validated(&changed));
        let now = Timestamp::now();
        let resolution = resolve(&after, now);
        let warned = changes.into_iter().map(|change| {
            let name = format!("{}/{}", change.namespace, change.name);
            let keys = resolution.outcomes.iter();
            let mut of_name = keys.filter(|(key, _)| key.to_string() == name);
            let warnings = of_name.next().map(|(_, outcome)| warnings(outcome));
            (name, warnings.unwrap_or_default())
        });
        Ok(Comparison {
            differences: differences((&before, &resolve(&before, now)), (&after, &resolution)),
            warnings: warned.collect(),
        })
    }

    async fn apply(&self, document: Document) -> Result<Vec<Change>, BackendError> {
        self.check()?;
        self.put_all(&document)
    }

    async fn delete(&self, key: &PolicyKey) -> Result<Change, BackendError> {
        self.check()?;
        let removed = self.policies.lock().remove(key);
        removed.ok_or_else(|| not_found(key))?;
        self.notify();
        Ok(change(key, Action::Deleted))
    }

    async fn services(&self) -> Result<Vec<String>, BackendError> {
        self.check()?;
        Ok(self.operations.lock().keys().cloned().collect())
    }

    async fn operations(&self, service: &str) -> Result<Vec<String>, BackendError> {
        self.check()?;
        let operations = self.operations.lock().get(service).cloned();
        Ok(operations.unwrap_or_default())
    }

    async fn find_traces(&self, _search: Search) -> Result<FoundTraces, BackendError> {
        self.check()?;
        Ok(self.found.lock().clone())
    }

    async fn figures(&self, _window: Duration) -> Result<ServiceFigures, BackendError> {
        self.check()?;
        Ok(self.figures.lock().clone())
    }

    fn lessons(&self) -> Option<&dyn Lessons> {
        self.lessons.as_deref()
    }

    async fn trace(&self, id: TraceId) -> Result<Option<TraceSpans>, BackendError> {
        self.check()?;
        Ok(self.traces.lock().get(&id).cloned())
    }
}

fn document(text: &str) -> Document {
    Document {
        source: "test.yaml".to_owned(),
        text: text.to_owned(),
    }
}

/// Applies all policies of a document, or none.
fn put_all(policies: &mut Policies, document: &Document) -> Result<Vec<Change>, BackendError> {
    let manifests = read::policies(&document.text, &document.source);
    let manifests = manifests.map_err(|errors| {
        let errors = errors.iter().map(ToString::to_string);
        BackendError::Validate(errors.collect())
    })?;
    let manifests = manifests.into_iter();
    Ok(manifests.map(|it| put(policies, it.policy)).collect())
}

fn put(policies: &mut Policies, mut policy: SamplingPolicy) -> Change {
    let key = policy.validate(Timestamp::UNIX_EPOCH).unwrap().key.clone();
    let before = policies.get(&key);
    let generation = before.and_then(|before| before.metadata.generation);
    let (generation, action) = match before {
        Some(before) if before.spec == policy.spec => (generation, Action::Unchanged),
        Some(_) => (generation.map(|it| it + 1), Action::Configured),
        None => (Some(1), Action::Created),
    };
    policy.metadata.generation = generation;
    policy.metadata.namespace = Some(key.namespace.to_string());
    policies.insert(key.clone(), policy);
    change(&key, action)
}

fn validated(policies: &Policies) -> Vec<Policy> {
    let policies = policies.values();
    let validated = policies.map(|it| it.validate(Timestamp::UNIX_EPOCH).unwrap());
    validated.collect()
}

fn status(resource: &SamplingPolicy, policy: &Policy, outcome: &Outcome) -> SamplingPolicyStatus {
    PolicyFindings {
        policy,
        generation: resource.metadata.generation,
        outcome,
        evidence: None,
        tail: TailRules::InForce,
        decisions: None,
        known: &BTreeSet::new(),
        notes: &[],
        previous: &[],
        // Constant, so that the status changes only with the policies.
        now: Timestamp::UNIX_EPOCH,
    }
    .status()
}

fn change(key: &PolicyKey, action: Action) -> Change {
    Change {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        action,
        warnings: vec![],
    }
}

fn not_found(key: &PolicyKey) -> BackendError {
    BackendError::Find(format!("policy {:?} not found", key.name.as_str()))
}
