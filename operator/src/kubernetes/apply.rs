//! Server-side apply with one field manager, without calls that would change nothing.

mod create;
mod fingerprint;

use std::collections::HashMap;

use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PropagationPolicy},
    core::{ApiResource, DynamicObject},
};
use parking_lot::Mutex;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde::Serialize;
use spoor_runtime::{self_tracing::record_error, with_causes};
use tracing::{Instrument, field::Empty};

use super::{ApiServerError, CALL_DEADLINE, resources::controller, watch::Key, with_deadline};
pub use fingerprint::Fingerprint;

/// An object with its desired content.
#[derive(Clone, Debug, PartialEq, derive_more::Display)]
#[display("{} \"{}\"", self.resource.kind, self.name())]
pub struct Manifest {
    /// Its resource.
    pub resource: ApiResource,
    /// The object, with its namespace and name.
    pub object: DynamicObject,
}

/// The state of an object in the cluster that applying depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveObject {
    /// Its uid.
    pub uid: String,
    /// The uid of the object that controls it, if any.
    pub controller: Option<String>,
    /// The field managers that have applied it.
    pub appliers: Vec<String>,
    /// A fingerprint of its content, without the status.
    pub fingerprint: Fingerprint,
}

/// The effect of applying an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// The object did not exist or had other content.
    Changed,
    /// Another field manager had changed the object since it was applied.
    Repaired,
    /// The object had this content already.
    Unchanged,
}

/// The reason why an object could not be brought to its desired content.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of this name was not created by Spoor. It is left as it is.
    #[error("{kind} {key} was not created by Spoor; delete it or recreate it under another name")]
    NameTaken {
        /// The kind of the object.
        kind: String,
        /// Its namespace and name.
        key: Key,
    },
    /// A call to the API server failed.
    #[error("cannot {action} {kind} {key}")]
    Call {
        /// The purpose of the call: read, create, apply or delete.
        action: &'static str,
        /// The kind of the object, or its status.
        kind: String,
        /// Its namespace and name.
        key: Key,
        /// The cause.
        #[source]
        source: ApiServerError,
    },
}

impl ApplyError {
    /// Returns true if another client changed the object first.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.is_conflict())
    }
}

/// Applies objects under one field manager.
pub struct Applier {
    client: Client,
    field_manager: &'static str,
    /// The objects that were applied last, with their fingerprints. Only the response to a write
    /// shows whether server-side apply changed something: without these, every reconciliation would
    /// write each object, and a controller that fights over a field would go unnoticed.
    applied: Mutex<HashMap<(String, Key), AppliedState>>,
    writes: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AppliedState {
    /// The uid of the object that owns it, if any.
    owner: Option<String>,
    desired: Fingerprint,
    stored: Fingerprint,
}

impl Manifest {
    /// The manifest of an object. Its namespace and owner may be added later.
    #[must_use]
    pub fn of<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Self {
        let resource = ApiResource::erase::<K>(&());
        // Kubernetes' types are maps of strings and numbers, so encoding them as JSON cannot fail.
        let value = serde_json::to_value(object).unwrap_or_default();
        let object = serde_json::from_value(value);
        let object = object.unwrap_or_else(|_| DynamicObject::new("", &resource));
        Self { resource, object }
    }

    /// The name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }
}

impl LiveObject {
    /// Extracts this state, for a watch to keep.
    pub fn of<K: Resource + Serialize>(object: &K) -> Self {
        let metadata = object.meta();
        let managers = metadata.managed_fields.iter().flatten();
        let applied = managers.filter(|entry| entry.operation.as_deref() == Some("Apply"));
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            controller: controller(metadata).map(|owner| owner.uid.clone()),
            appliers: applied.filter_map(|entry| entry.manager.clone()).collect(),
            fingerprint: Fingerprint::of(object),
        }
    }
}

impl Applier {
    /// Creates an applier for this field manager.
    #[must_use]
    pub fn new(client: Client, field_manager: &'static str) -> Self {
        Self {
            client,
            field_manager,
            applied: Mutex::default(),
            writes: Counter::default(),
        }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Calls to the API server that write or delete an object";
        registry.register("writes", help, self.writes.clone());
    }

    /// Brings an object to its desired content. `live` is the object's state in a watch; without it
    /// the object is read first.
    ///
    /// # Errors
    /// [`ApplyError::NameTaken`] if there is an object of that name that this field manager has
    /// never applied, or that an object other than its owner controls; else the reason why a call
    /// failed.
    pub async fn apply(
        &self,
        manifest: &Manifest,
        live: Option<&LiveObject>,
    ) -> Result<ApplyOutcome, ApplyError> {
        let (kind, key) = (manifest.resource.kind.clone(), Key::of(&manifest.object));
        let live = match live {
            Some(live) => Some(live.clone()),
            // The watch selects objects by label, so the object may exist without that label.
            None => self.live(manifest).await?,
        };
        let is_foreign = |live: &LiveObject| !self.is_ours(live, &manifest.object);
        if live.as_ref().is_some_and(is_foreign) {
            return Err(ApplyError::NameTaken { kind, key });
        }
        let desired = Fingerprint::of(&manifest.object);
        let object = (kind, key);
        let mut before = live.map(|live| live.fingerprint);
        let known = self.applied.lock().get(&object).cloned();
        let known = known.filter(|known| known.desired == desired);
        let stored = known.map(|known| known.stored);
        if stored.is_some() && before != stored {
            // Either another client has changed the object, or the watch lags behind the last
            // apply.
            before = self.live(manifest).await?.map(|live| live.fingerprint);
        }
        if stored.is_some() && before == stored {
            return Ok(ApplyOutcome::Unchanged);
        }
        // `force` takes fields over from other managers. Without it a field that another client
        // has edited would be a conflict on each attempt, and the object could never be restored.
        let was_applied = stored.is_some();
        let parameters = PatchParams::apply(self.field_manager).force();
        let api = self.api(&manifest.resource, &object.1);
        let patch = Patch::Apply(&manifest.object);
        self.writes.inc();
        let write = api.patch(&object.1.name, &parameters, &patch);
        let after = call("apply", "PATCH", &object.0, &object.1, write).await?;
        // The API server adds defaults, so what it stored is remembered and not what was sent.
        let stored = Fingerprint::of(&after);
        let mut owners = manifest.object.metadata.owner_references.iter().flatten();
        let state = AppliedState {
            owner: owners.next().map(|owner| owner.uid.clone()),
            desired,
            stored,
        };
        self.applied.lock().insert(object, state);
        Ok(match before {
            Some(before) if before == stored => ApplyOutcome::Unchanged,
            Some(_) if was_applied => ApplyOutcome::Repaired,
            _ => ApplyOutcome::Changed,
        })
    }

    /// Forgets the objects whose owner, given by its uid, no longer exists. The garbage collector
    /// deletes them.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        let mut applied = self.applied.lock();
        applied.retain(|_, it| it.owner.as_deref().is_none_or(&exists));
    }

    /// Writes an object's status. Always calls the API server. With a `version`, the API server
    /// refuses the status if the object has another one.
    ///
    /// # Errors
    /// [`ApplyError::Call`].
    pub async fn apply_status(
        &self,
        resource: &ApiResource,
        key: &Key,
        version: Option<&str>,
        status: &impl Serialize,
    ) -> Result<DynamicObject, ApplyError> {
        let kind = format!("{}/status", resource.kind);
        // A status consists of maps, strings and numbers, so encoding it as JSON cannot fail.
        let status = serde_json::to_value(status).unwrap_or_default();
        let mut object = DynamicObject::new(&key.name, resource);
        object.metadata.resource_version = version.map(str::to_owned);
        object.data = serde_json::json!({ "status": status });
        let parameters = PatchParams::apply(self.field_manager).force();
        let api = self.api(resource, key);
        let patch = Patch::Apply(&object);
        self.writes.inc();
        let write = api.patch_status(&key.name, &parameters, &patch);
        call("apply", "PATCH", &kind, key, write).await
    }

    /// Deletes an object, if it exists and is still the one with this uid. `dependents` says what
    /// becomes of the objects that it owns.
    ///
    /// # Errors
    /// [`ApplyError::Call`].
    pub async fn delete(
        &self,
        resource: &ApiResource,
        key: &Key,
        uid: &str,
        dependents: PropagationPolicy,
    ) -> Result<(), ApplyError> {
        let parameters = DeleteParams {
            propagation_policy: Some(dependents),
            ..DeleteParams::default()
        };
        // The precondition protects an object that was deleted and created again by another client
        // since the watch saw it.
        let parameters = parameters.preconditions(kube::api::Preconditions {
            uid: Some(uid.to_owned()),
            ..Default::default()
        });
        let api = self.api(resource, key);
        // Before the call: if it fails halfway, the next apply must not trust what was stored.
        let object = (resource.kind.clone(), key.clone());
        self.applied.lock().remove(&object);
        self.writes.inc();
        let delete = api.delete(&key.name, &parameters);
        match call("delete", "DELETE", &resource.kind, key, delete).await {
            // A conflict means that the uid differs: the object in question is gone.
            Err(ApplyError::Call { source, .. })
                if source.is_not_found() || source.is_conflict() =>
            {
                Ok(())
            }
            result => result.map(drop),
        }
    }

    async fn live(&self, manifest: &Manifest) -> Result<Option<LiveObject>, ApplyError> {
        let key = Key::of(&manifest.object);
        let api = self.api(&manifest.resource, &key);
        let read = api.get_opt(&key.name);
        let object = call("read", "GET", &manifest.resource.kind, &key, read).await?;
        Ok(object.as_ref().map(LiveObject::of))
    }

    /// Returns true if this applier may write the object. One whose owner reference was removed is
    /// still ours.
    fn is_ours(&self, live: &LiveObject, desired: &DynamicObject) -> bool {
        let mut owners = desired.metadata.owner_references.iter().flatten();
        let controller = live.controller.as_ref();
        let is_free = controller.is_none_or(|uid| owners.any(|owner| owner.uid == *uid));
        // Labels prove nothing, since anyone can set them. The managed fields name who applied it.
        let mut appliers = live.appliers.iter();
        let is_applied = appliers.any(|applier| applier == self.field_manager);
        is_applied && is_free
    }

    fn api(&self, resource: &ApiResource, key: &Key) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &key.namespace, resource)
    }
}

/// Makes a call within a client span. Calls for Leases and events have none: they would make up
/// most of the spans, and are not about a resource.
async fn call<T>(
    action: &'static str,
    method: &str,
    kind: &str,
    key: &Key,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    let span = tracing::info_span!(
        "call",
        otel.name = %format_args!("{action} {kind}"),
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        k8s.namespace.name = key.namespace,
        k8s.object.kind = kind,
        k8s.object.name = key.name,
    );
    let result = with_deadline(CALL_DEADLINE, call).instrument(span.clone());
    result.await.map_err(|source| {
        if let Some(code) = source.code() {
            span.record("http.response.status_code", i64::from(code));
        }
        record_error(&span, &with_causes(&source));
        ApplyError::Call {
            action,
            kind: kind.to_owned(),
            key: key.clone(),
            source,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{Request, Response};
    use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::OwnerReference};
    use kube::client::Body;
    use tower::{BoxError, service_fn};

    use super::*;

    #[tokio::test]
    async fn objects_of_deleted_owners_are_forgotten() {
        // Responds to a write with the object that was sent.
        let service = service_fn(|request: Request<Body>| async move {
            Ok::<_, BoxError>(Response::new(request.into_body()))
        });
        let applier = Applier::new(Client::new(service, "default"), "test");
        let resource = ApiResource::erase::<Service>(&());
        for owner in ["kept", "deleted"] {
            let mut object = DynamicObject::new(owner, &resource).within("default");
            object.metadata.owner_references = Some(vec![OwnerReference {
                uid: owner.to_owned(),
                ..OwnerReference::default()
            }]);
            let live = LiveObject {
                uid: String::new(),
                // The owner may cease to be the controller.
                controller: Some(owner.to_owned()),
                appliers: vec!["test".to_owned()],
                fingerprint: Fingerprint::of(&object),
            };
            let resource = resource.clone();
            let manifest = Manifest { resource, object };
            applier.apply(&manifest, Some(&live)).await.unwrap();
        }
        applier.keep_only(|uid| uid == "kept");
        let applied = applier.applied.lock();
        let names: Vec<&str> = applied.keys().map(|(_, key)| &*key.name).collect();
        assert_eq!(names, ["kept"]);
    }
}
