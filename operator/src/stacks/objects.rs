//! The objects that a stack consists of, and what their builders share. Both [`super::build`] and
//! [`super::collector`] depend on this module, and it on neither.

pub mod labels;
pub mod network;
pub mod otlp;
pub mod pod;
pub mod text;
pub mod workload;

use kube::api::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::Value;

/// The field manager of all that the role writes, and the reporter of its events.
pub(super) const FIELD_MANAGER: &str = "spoor-stacks";

/// The kinds of object that a stack consists of, in the order in which they are applied: what pods
/// need comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
pub enum ObjectKind {
    /// `v1`.
    ConfigMap,
    /// `v1`.
    PersistentVolumeClaim,
    /// `v1`.
    Service,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
    /// `policy/v1`.
    PodDisruptionBudget,
    /// `apps/v1`.
    Deployment,
}

/// A type of object that a stack consists of.
pub trait StackResource: Serialize {
    /// The kind of the type.
    const KIND: ObjectKind;
}

macro_rules! stack_resources {
    ($($kind:ident = $type:ty),* $(,)?) => {
        $(impl StackResource for $type {
            const KIND: ObjectKind = ObjectKind::$kind;
        })*

        impl ObjectKind {
            /// The resource in the API server.
            #[must_use]
            pub fn resource(self) -> ApiResource {
                match self {
                    $(Self::$kind => ApiResource::erase::<$type>(&()),)*
                }
            }
        }
    };
}

stack_resources! {
    ConfigMap = k8s_openapi::api::core::v1::ConfigMap,
    PersistentVolumeClaim = k8s_openapi::api::core::v1::PersistentVolumeClaim,
    Service = k8s_openapi::api::core::v1::Service,
    NetworkPolicy = k8s_openapi::api::networking::v1::NetworkPolicy,
    PodDisruptionBudget = k8s_openapi::api::policy::v1::PodDisruptionBudget,
    Deployment = k8s_openapi::api::apps::v1::Deployment,
}

/// An object to apply.
#[derive(Clone, Debug, PartialEq, derive_more::Display)]
#[display("{kind} \"{}\"", self.name())]
pub struct Object {
    /// Its kind.
    pub kind: ObjectKind,
    /// The object.
    pub body: DynamicObject,
}

impl Object {
    /// Wraps an object. The metadata that depends on the stack (namespace, owner) is added later.
    #[must_use]
    pub fn of<P: StackResource>(part: &P) -> Self {
        // These types are maps of strings and numbers, so encoding them as JSON cannot fail.
        let value = serde_json::to_value(part).unwrap_or(Value::Null);
        let body = serde_json::from_value(value);
        let body = body.unwrap_or_else(|_| DynamicObject::new("", &P::KIND.resource()));
        Self {
            kind: P::KIND,
            body,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.body.metadata.name.as_deref().unwrap_or_default()
    }
}
