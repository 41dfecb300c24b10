//! The labels of what belongs to a stack.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use spoor_api::stack::Stack;

/// Whose object it is.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on everything that the operator makes.
pub const OPERATOR: &str = "spoor-operator";
/// What it is.
pub const NAME: &str = "app.kubernetes.io/name";
/// Of which stack.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The parts of a stack that have pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// Jaeger.
    Jaeger,
    /// The Collector's first tier.
    Gather,
    /// The Collector's second tier.
    Decide,
}

impl Component {
    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jaeger => "jaeger",
            Self::Gather => "collector-gather",
            Self::Decide => "collector-decide",
        }
    }
}

/// What selects a component's pods, and what those pods have.
#[must_use]
pub fn selector(stack: &Stack, component: Component) -> BTreeMap<String, String> {
    let mut labels = of_stack(stack);
    labels.insert(NAME.to_owned(), component.as_str().to_owned());
    labels
}

/// [`selector`] as workloads and policies want it.
#[must_use]
pub fn label_selector(stack: &Stack, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector(stack, component)),
        ..LabelSelector::default()
    }
}

/// An object of a component.
#[must_use]
pub fn component_metadata(stack: &Stack, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some(selector(stack, component)),
        ..ObjectMeta::default()
    }
}

/// An object of the stack as a whole.
#[must_use]
pub fn stack_metadata(stack: &Stack, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some(of_stack(stack)),
        ..ObjectMeta::default()
    }
}

fn of_stack(stack: &Stack) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), OPERATOR.to_owned()),
        (INSTANCE.to_owned(), stack.name.to_string()),
    ])
}
