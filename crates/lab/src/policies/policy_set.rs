//! The set of all policies: the applied ones, and those of the watched folder.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use spoor_api::{SamplingPolicy, changes::Action, read::json_bytes};
use spoor_policy::{OperationName, Policy, PolicyKey, Strategies};

use super::{
    limits::check_sizes,
    submitted::{ReportedErrors, Submitted},
};

/// The policies by source. A name is in only one of the two.
#[derive(Clone, Debug, Default)]
pub(super) struct PolicySet {
    pub(super) applied: BTreeMap<PolicyKey, Entry>,
    pub(super) folder: BTreeMap<PolicyKey, Entry>,
}

/// One policy.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The resource as written, with creation time and generation, without status.
    pub(super) resource: SamplingPolicy,
    /// The validated policy.
    pub(super) policy: Policy,
}

/// The policies of a change, with the action taken on each.
pub(super) type Actions = Vec<(PolicyKey, Action)>;

impl PolicySet {
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let keys: BTreeSet<&PolicyKey> = self.applied.keys().chain(self.folder.keys()).collect();
        keys.into_iter().filter_map(|key| self.get(key))
    }

    pub(super) fn get(&self, key: &PolicyKey) -> Option<&Entry> {
        self.applied.get(key).or_else(|| self.folder.get(key))
    }

    pub(super) fn policies(&self) -> Vec<Policy> {
        self.entries().map(|entry| entry.policy.clone()).collect()
    }

    /// Adds or replaces policies.
    ///
    /// # Errors
    /// The errors in the policies.
    pub(super) fn apply(
        mut self,
        sent: &[Submitted],
        now: Timestamp,
    ) -> Result<(Self, Actions), Vec<String>> {
        refuse_names_in(&self.folder, sent, |name| {
            format!("{name:?} is in the watched folder; change it there")
        })?;
        let (entries, actions) = new_entries(sent, &self.applied, &BTreeMap::new(), now)?;
        self.applied.extend(entries);
        self.check_size()?;
        Ok((self, actions))
    }

    fn check_size(&self) -> Result<(), Vec<String>> {
        let targets = self.entries().flat_map(|entry| &entry.policy.targets);
        let targets = targets.map(|target| target.operations.len().max(1)).sum();
        let policies = self.applied.len() + self.folder.len();
        let bytes = self.entries().map(|it| json_bytes(&it.resource)).sum();
        check_sizes(policies, targets, bytes)?;
        self.check_plans()
    }

    /// Checks that no service would refuse its plan.
    fn check_plans(&self) -> Result<(), Vec<String>> {
        let mut operations: BTreeMap<_, BTreeSet<&OperationName>> = BTreeMap::new();
        let policies = self.entries().map(|entry| &entry.policy);
        // Only heads are part of plans.
        for policy in policies.filter(|policy| policy.head.is_some()) {
            for target in &policy.targets {
                let service = (&policy.key.namespace, &target.service);
                let of_service = operations.entry(service).or_default();
                of_service.extend(&target.operations);
            }
        }
        let max = Strategies::MAX_OPERATIONS;
        match operations.iter().find(|(_, names)| names.len() > max) {
            Some(((_, service), names)) => Err(vec![format!(
                "policies with a head apply to {} operations of {service}, more than the limit of \
                 {max}; delete some policies",
                names.len()
            )]),
            None => Ok(()),
        }
    }

    /// Replaces the folder's policies. `first_accepted` has the creation times of those that the
    /// lab accepted before it was last started.
    ///
    /// # Errors
    /// The errors in the policies.
    pub(super) fn replace_folder(
        mut self,
        sent: &[Submitted],
        first_accepted: &BTreeMap<PolicyKey, Timestamp>,
        now: Timestamp,
    ) -> Result<(Self, Actions), Vec<String>> {
        refuse_names_in(&self.applied, sent, |name| {
            format!("{name:?} was applied before; run `spoor delete {name}` first")
        })?;
        let (entries, mut actions) = new_entries(sent, &self.folder, first_accepted, now)?;
        let gone = self.folder.keys().filter(|key| !entries.contains_key(*key));
        actions.extend(gone.map(|key| (key.clone(), Action::Deleted)));
        self.folder = entries;
        self.check_size()?;
        Ok((self, actions))
    }
}

fn refuse_names_in(
    others: &BTreeMap<PolicyKey, Entry>,
    sent: &[Submitted],
    message: impl Fn(&str) -> String,
) -> Result<(), Vec<String>> {
    let in_others = sent.iter().filter(|sent| others.contains_key(&sent.key));
    let mut errors = ReportedErrors::default();
    errors.extend(in_others.map(|sent| sent.name_error(&message(sent.key.name.as_str()))));
    errors.ok_if_empty()
}

fn refuse_duplicates(sent: &[Submitted]) -> Result<(), Vec<String>> {
    let mut seen: BTreeMap<&PolicyKey, &Submitted> = BTreeMap::new();
    let mut errors = ReportedErrors::default();
    for sent in sent {
        if let Some(first) = seen.get(&sent.key) {
            let (name, location) = (sent.key.name.as_str(), first.location());
            errors.extend([sent.name_error(&format!(
                "duplicate policy {name:?}, also at {location}; give each policy its own name"
            ))]);
        } else {
            seen.insert(&sent.key, sent);
        }
    }
    errors.ok_if_empty()
}

/// Computes the new entry for each policy, given the existing ones.
fn new_entries(
    sent: &[Submitted],
    before: &BTreeMap<PolicyKey, Entry>,
    first_accepted: &BTreeMap<PolicyKey, Timestamp>,
    now: Timestamp,
) -> Result<(BTreeMap<PolicyKey, Entry>, Actions), Vec<String>> {
    refuse_duplicates(sent)?;
    let mut entries = BTreeMap::new();
    let mut actions = vec![];
    for sent in sent {
        let (key, resource) = (&sent.key, &sent.manifest.policy);
        let before = before.get(key);
        // The first creation time stays, since it decides between policies of equal priority.
        let created = before
            .map(|entry| entry.policy.created)
            .or_else(|| first_accepted.get(key).copied())
            .unwrap_or(now);
        let action = match before {
            None => Action::Created,
            Some(before) if is_same(&before.resource, resource) => Action::Unchanged,
            Some(_) => Action::Configured,
        };
        let generation = generation(before, resource);
        let entry = Entry::new(resource, created, generation).map_err(|errors| {
            let located = |error| sent.manifest.error(error).to_string();
            errors.into_iter().map(located).collect::<Vec<_>>()
        })?;
        entries.insert(key.clone(), entry);
        actions.push((key.clone(), action));
    }
    Ok((entries, actions))
}

impl Entry {
    /// Validates a resource.
    pub(super) fn new(
        resource: &SamplingPolicy,
        created: Timestamp,
        generation: i64,
    ) -> Result<Self, Vec<spoor_api::FieldError>> {
        let policy = resource.validate(created)?;
        let mut resource = SamplingPolicy {
            status: None,
            ..resource.clone()
        };
        resource.metadata.namespace = Some(policy.key.namespace.to_string());
        resource.metadata.creation_timestamp = Some(created.to_string());
        resource.metadata.generation = Some(generation);
        // A manifest printed by `kubectl get -o yaml` has these, which belong to another API
        // server.
        resource.metadata.resource_version = None;
        resource.metadata.uid = None;
        Ok(Self { resource, policy })
    }
}

fn is_same(before: &SamplingPolicy, sent: &SamplingPolicy) -> bool {
    // Compared by what authors write; the rest of the metadata is the lab's.
    before.spec == sent.spec
        && before.metadata.labels == sent.metadata.labels
        && before.metadata.annotations == sent.metadata.annotations
}

fn generation(before: Option<&Entry>, sent: &SamplingPolicy) -> i64 {
    let Some(before) = before else { return 1 };
    let generation = before.resource.metadata.generation.unwrap_or(1);
    // As in Kubernetes, the generation counts changes of the spec only.
    generation + i64::from(before.resource.spec != sent.spec)
}
