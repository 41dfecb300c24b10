//! Applying policies: all in the documents, or none that Kubernetes would refuse.

use std::collections::BTreeMap;

use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Map, Value, json};
use spoor_api::{
    API_VERSION, SamplingPolicy,
    changes::{Action, Change, Document},
};
use spoor_console::BackendError;
use spoor_policy::PolicyKey;

use crate::{
    ClusterClient,
    call::{CallError, call},
    documents::Planned,
    managers::{FIELD_MANAGER, has_other_manager, is_own_conflict},
};

/// The most attempts to change a policy whose status is written at the same time.
const MAX_ATTEMPTS: u32 = 5;

/// Policies that were applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The policies in the order of the documents.
    pub changes: Vec<Change>,
    /// The generation of each, for [`ClusterClient::converged`].
    pub generations: BTreeMap<PolicyKey, i64>,
}

/// A request that brings a policy to its content.
#[derive(Debug, PartialEq)]
enum Write {
    /// Server-side apply, which leaves the fields of other managers alone.
    Apply(Value),
    /// A merge patch that replaces the spec, if the object still has this resource version.
    // Server-side apply would keep a rule that the document no longer has, since the person who set
    // it with `kubectl apply` is another manager.
    Replace(Value),
}

impl ClusterClient {
    /// Applies all policies in the documents. The API server checks all of them before the first is
    /// applied.
    ///
    /// # Errors
    /// [`BackendError::Validate`] names file, line and field, or has Kubernetes' message;
    /// [`BackendError::Refuse`] with Kubernetes' reason if the user may not change a policy;
    /// [`BackendError::Conflict`] names the other managers of a field. If a later request fails
    /// nevertheless, the message names the policies that were applied before.
    pub async fn apply_documents(&self, documents: &[Document]) -> Result<Applied, BackendError> {
        let planned = self.plan(documents)?;
        let mut problems = vec![];
        for plan in &planned {
            match self.dry_run(plan).await {
                Ok(_) => {}
                Err(BackendError::Validate(messages)) => problems.extend(messages),
                Err(error) => return Err(error),
            }
        }
        if !problems.is_empty() {
            return Err(BackendError::Validate(problems));
        }
        let mut applied = Applied::default();
        for plan in &planned {
            let (action, object) = match self.write(plan, false).await {
                Ok(written) => written,
                Err(error) => return Err(after(&applied.changes, error)),
            };
            applied.changes.push(Change {
                namespace: plan.key.namespace.to_string(),
                name: plan.key.name.to_string(),
                action,
                warnings: vec![],
            });
            let generation = object.metadata.generation.unwrap_or_default();
            applied.generations.insert(plan.key.clone(), generation);
        }
        Ok(applied)
    }

    /// The object that applying a policy would result in, as the API server computes it.
    pub(crate) async fn dry_run(&self, plan: &Planned) -> Result<DynamicObject, BackendError> {
        let (_, object) = self.write(plan, true).await?;
        Ok(object)
    }

    async fn write(
        &self,
        plan: &Planned,
        is_dry_run: bool,
    ) -> Result<(Action, DynamicObject), BackendError> {
        let mut attempts = 0;
        let mut first = None;
        loop {
            attempts += 1;
            let live = self.live(plan).await?;
            let generation = live.as_ref().and_then(|it| it.metadata.generation);
            if *first.get_or_insert(generation) != generation {
                let message = format!("policy {} was changed at the same time", plan.key);
                return Err(BackendError::Conflict(message));
            }
            let write = Write::new(plan, live.as_ref());
            match self.send(plan, &write, is_dry_run).await {
                Ok(object) => return Ok((action(live.as_ref(), &object), object)),
                // Most often the operator has written the status in between.
                Err(error)
                    if attempts < MAX_ATTEMPTS
                        && error.code() == Some(409)
                        && matches!(write, Write::Replace(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn live(&self, plan: &Planned) -> Result<Option<DynamicObject>, CallError> {
        let api = self.api(Some(&plan.key.namespace));
        call(api.get_opt(plan.key.name.as_str())).await
    }

    async fn send(
        &self,
        plan: &Planned,
        write: &Write,
        is_dry_run: bool,
    ) -> Result<DynamicObject, CallError> {
        let (api, name) = (self.api(Some(&plan.key.namespace)), plan.key.name.as_str());
        let mut parameters = PatchParams::apply(FIELD_MANAGER);
        parameters.dry_run = is_dry_run;
        let object = match write {
            Write::Replace(change) => {
                return call(api.patch(name, &parameters, &Patch::Merge(change))).await;
            }
            Write::Apply(object) => Patch::Apply(object),
        };
        let sent = call(api.patch(name, &parameters, &object)).await;
        match sent {
            Err(error) if is_own_conflict(&error) => {
                call(api.patch(name, &parameters.force(), &object)).await
            }
            sent => sent,
        }
    }
}

impl Write {
    fn new(plan: &Planned, live: Option<&DynamicObject>) -> Self {
        let SamplingPolicy { metadata, spec, .. } = &plan.resource;
        // A resource consists of maps, strings and numbers, so encoding it cannot fail.
        let spec = serde_json::to_value(spec).unwrap_or_default();
        let mut written = Map::new();
        for (part, entries) in [
            ("labels", &metadata.labels),
            ("annotations", &metadata.annotations),
        ] {
            if !entries.is_empty() {
                written.insert(part.to_owned(), json!(entries));
            }
        }
        match live.filter(|live| !has_other_manager(live)) {
            Some(live) => {
                let version = json!(live.metadata.resource_version);
                written.insert("resourceVersion".to_owned(), version);
                let before = live.data.get("spec").unwrap_or(&Value::Null);
                Self::Replace(json!({"metadata": written, "spec": replacing(before, &spec)}))
            }
            None => {
                written.insert("name".to_owned(), json!(plan.key.name.as_str()));
                written.insert("namespace".to_owned(), json!(plan.key.namespace.as_str()));
                Self::Apply(json!({
                    "apiVersion": API_VERSION,
                    "kind": SamplingPolicy::KIND,
                    "metadata": written,
                    "spec": spec,
                }))
            }
        }
    }
}

/// A merge patch (RFC 7396) that turns a value into another.
fn replacing(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return after.clone();
    };
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    let removed = removed.map(|key| (key.clone(), Value::Null));
    let set = after.iter().map(|(key, value)| {
        let before = before.get(key).unwrap_or(&Value::Null);
        (key.clone(), replacing(before, value))
    });
    Value::Object(removed.chain(set).collect())
}

/// The action that a write took. The API server keeps the version of an object that a write does not
/// change.
fn action(before: Option<&DynamicObject>, after: &DynamicObject) -> Action {
    match before {
        None => Action::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Action::Unchanged
        }
        Some(_) => Action::Configured,
    }
}

/// The error of a change of which a part has been made.
fn after(changes: &[Change], error: BackendError) -> BackendError {
    let [first, ..] = changes else { return error };
    let (count, name) = (changes.len(), &first.name);
    let made = format!("policies applied before this error: {count}, the first {name:?}");
    match error {
        BackendError::Validate(mut messages) => {
            messages.push(made);
            BackendError::Validate(messages)
        }
        BackendError::Find(message) => BackendError::Find(format!("{message} ({made})")),
        BackendError::Refuse(message) => BackendError::Refuse(format!("{message} ({made})")),
        BackendError::Conflict(message) => BackendError::Conflict(format!("{message} ({made})")),
        BackendError::Reach(message) => BackendError::Reach(format!("{message} ({made})")),
        BackendError::TooLarge(message) => BackendError::TooLarge(format!("{message} ({made})")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use spoor_api::{Head, Metadata, SamplingPolicySpec};

    use super::*;

    fn plan(probability: &str) -> Planned {
        let head = Head {
            probability: Some(probability.to_owned()),
            ..Head::default()
        };
        let spec = SamplingPolicySpec {
            head: Some(head),
            ..SamplingPolicySpec::default()
        };
        let metadata = Metadata {
            namespace: Some("shop".to_owned()),
            ..Metadata::named("a")
        };
        let resource = SamplingPolicy::new(metadata, spec);
        Planned {
            key: resource
                .validate(jiff::Timestamp::UNIX_EPOCH)
                .unwrap()
                .key
                .clone(),
            resource,
        }
    }

    fn live(manager: &str) -> DynamicObject {
        let entry = json!({
            "manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {}},
        });
        serde_json::from_value(json!({
            "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [entry]},
            "spec": {"head": {"rateLimit": {"tracesPerSecond": 5}}, "priority": 0},
        }))
        .unwrap()
    }

    #[test]
    fn new_policy_is_applied() {
        let expected = json!({
            "apiVersion": API_VERSION,
            "kind": "SamplingPolicy",
            "metadata": {"name": "a", "namespace": "shop"},
            "spec": {"head": {"probability": "1%"}, "priority": 0},
        });
        assert_eq!(Write::new(&plan("1%"), None), Write::Apply(expected));
    }

    #[test]
    fn fields_set_by_hand_are_replaced() {
        let write = Write::new(&plan("1%"), Some(&live("kubectl-client-side-apply")));
        let expected = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"head": {"probability": "1%", "rateLimit": null}, "priority": 0},
        });
        assert_eq!(write, Write::Replace(expected));
    }

    #[test]
    fn fields_of_a_controller_are_left_alone() {
        let write = Write::new(&plan("1%"), Some(&live("argocd-controller")));
        assert!(matches!(write, Write::Apply(_)), "{write:?}");
    }

    #[test]
    fn lists_are_replaced_as_a_whole() {
        let before = json!({"tail": {"keep": [{"name": "a"}, {"name": "b"}], "otherwise": "1%"}});
        let after = json!({"tail": {"keep": [{"name": "b"}], "otherwise": "1%"}});
        assert_eq!(replacing(&before, &after), after);
        let without = json!({"head": {}});
        let expected = json!({"head": {}, "tail": null});
        assert_eq!(replacing(&before, &without), expected);
    }
}
