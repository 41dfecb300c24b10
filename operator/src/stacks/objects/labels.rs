//! The labels of a stack's objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use spoor_api::stack::{SamplerEngine, Stack};

/// The label with the program that manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on every object that the operator creates.
pub const OPERATOR: &str = "spoor-operator";
/// The label with the component.
pub const NAME: &str = "app.kubernetes.io/name";
/// The label with the name of the stack.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The parts of a stack that have pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// Jaeger.
    Jaeger,
    /// The Collector's gathering tier.
    Gather,
    /// The Collector's deciding tier.
    Decide,
    /// The Collector with a pipeline on each side of the sampler.
    Collector,
    /// Spoor's sampler.
    Sampler,
}

impl Component {
    /// The parts behind the route to the Collector: first the one that services send to.
    #[must_use]
    pub fn of_engine(engine: SamplerEngine) -> [Self; 2] {
        match engine {
            SamplerEngine::OpenTelemetry => [Self::Gather, Self::Decide],
            SamplerEngine::Spoor => [Self::Collector, Self::Sampler],
        }
    }

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jaeger => "jaeger",
            Self::Gather => "collector-gather",
            Self::Decide => "collector-decide",
            Self::Collector => "collector",
            Self::Sampler => "sampler",
        }
    }

    /// The name of a component's objects.
    #[must_use]
    pub fn name_in(self, stack: &Stack) -> String {
        self.name_in_stack(stack.name.as_str())
    }

    /// [`Self::name_in`] by the name of the stack.
    #[must_use]
    pub fn name_in_stack(self, stack: &str) -> String {
        let name = self.as_str();
        let suffix = name.strip_prefix("collector-").unwrap_or(name);
        format!("{stack}-{suffix}")
    }
}

/// The labels that select a component's pods, and that those pods have.
#[must_use]
pub fn selector(stack: &Stack, component: Component) -> BTreeMap<String, String> {
    // Add no label here: a Deployment's selector is immutable.
    let mut labels = stack_labels(stack);
    labels.insert(NAME.to_owned(), component.as_str().to_owned());
    labels
}

/// [`selector`] as the type that Deployments and NetworkPolicies use.
#[must_use]
pub fn label_selector(stack: &Stack, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector(stack, component)),
        ..LabelSelector::default()
    }
}

/// The metadata of an object of a component.
#[must_use]
pub fn component_metadata(stack: &Stack, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(component.name_in(stack)),
        labels: Some(selector(stack, component)),
        ..ObjectMeta::default()
    }
}

/// The metadata of an object of the stack as a whole.
#[must_use]
pub fn stack_metadata(stack: &Stack, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        labels: Some(stack_labels(stack)),
        ..ObjectMeta::default()
    }
}

fn stack_labels(stack: &Stack) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MANAGED_BY.to_owned(), OPERATOR.to_owned()),
        (INSTANCE.to_owned(), stack.name.to_string()),
    ])
}
