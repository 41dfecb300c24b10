//! Sampling policies as users write and read them.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use spoor_operator::kubernetes::resources::sampling_policies;

use super::MAX_WAIT;
use crate::apiserver::{Namespace, eventually};

/// A policy by its name.
#[derive(Clone)]
pub struct SamplingPolicy {
    api: Api<DynamicObject>,
    name: String,
}

impl SamplingPolicy {
    /// Applies a policy that keeps this share of a service's traces.
    pub async fn apply(namespace: &Namespace<'_>, service: &str, probability: &str) -> Self {
        let spec = json!({
            "targets": [{"service": service}],
            "head": {"probability": probability},
        });
        Self::apply_spec(namespace, service, spec).await
    }

    /// Applies a policy of this name.
    pub async fn apply_spec(namespace: &Namespace<'_>, name: &str, spec: Value) -> Self {
        let object = json!({
            "apiVersion": "spoor.dev/v1alpha1",
            "kind": "SamplingPolicy",
            "metadata": {"name": name},
            "spec": spec,
        });
        namespace.apply(object).await.unwrap();
        Self::named(namespace, name)
    }

    /// An existing policy.
    pub fn named(namespace: &Namespace<'_>, name: &str) -> Self {
        let client = namespace.client.clone();
        Self {
            api: Api::namespaced_with(client, &namespace.name, &sampling_policies()),
            name: name.to_owned(),
        }
    }

    /// `kubectl patch` of its rate.
    pub async fn patch(&self, probability: &str) {
        let change = Patch::Merge(json!({"spec": {"head": {"probability": probability}}}));
        let parameters = PatchParams::default();
        let patch = self.api.patch(&self.name, &parameters, &change);
        patch.await.unwrap();
    }

    /// Applies its status as this field manager, with force.
    pub async fn apply_status(&self, object: Value, manager: &str) {
        let (parameters, status) = (PatchParams::apply(manager).force(), Patch::Apply(object));
        let applied = self
            .api
            .patch_status(&self.name, &parameters, &status)
            .await;
        applied.unwrap();
    }

    /// `kubectl delete`.
    pub async fn delete(&self) {
        let parameters = DeleteParams::default();
        self.api.delete(&self.name, &parameters).await.unwrap();
    }

    /// The object as it is.
    pub async fn get(&self) -> Result<Value, String> {
        let object = self.api.get(&self.name).await;
        let object = object.map_err(|error| error.to_string())?;
        serde_json::to_value(object).map_err(|error| error.to_string())
    }

    /// Waits until its status meets a condition, at its latest generation. `what` describes it.
    pub async fn wait_for(&self, what: &str, is_met: impl Fn(&Value) -> bool) -> Value {
        eventually(
            &format!("{}: {what}", self.name),
            MAX_WAIT * 2,
            async || {
                let object = self.get().await?;
                let status = &object["status"];
                match is_current(&object) && is_met(status) {
                    true => Ok(status.clone()),
                    false => Err(serde_json::to_string_pretty(status).unwrap()),
                }
            },
        )
        .await
    }

    /// Waits until this condition is `True`, at its latest generation.
    pub async fn wait_for_condition(&self, condition: &str) -> Value {
        let is_true = |status: &Value| self::condition(status, condition)["status"] == "True";
        self.wait_for(condition, is_true).await
    }
}

/// A condition of a status, or null if there is none of this type.
pub fn condition<'a>(status: &'a Value, name: &str) -> &'a Value {
    let conditions = status["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == name);
    found.unwrap_or(&Value::Null)
}

/// Returns true if every condition is of the current generation of the spec.
fn is_current(object: &Value) -> bool {
    let generation = &object["metadata"]["generation"];
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .all(|condition| condition["observedGeneration"] == *generation)
    })
}
