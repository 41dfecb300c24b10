//! Tail sampling: rules for complete traces.

mod attribute_index;
mod digest;
mod place;

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use crate::{
    AttributeKey, Namespace, OperationName, PolicyName, Probability, RuleName, ServiceName,
    name::first_duplicate,
};

pub use attribute_index::AttributeValue;
pub use place::{InvalidTailTable, OwnedTailPlace};

use attribute_index::AttributeIndex;

/// The tail sampling of a policy: a trace is kept if a rule matches, and otherwise with a
/// probability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPolicy {
    // Shared, since a policy has a clone at each of its places, of which there may be thousands.
    keep: Arc<[Rule]>,
    attributes: Arc<AttributeIndex>,
    otherwise: Probability,
}

/// A rule to keep a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, unique in the policy.
    pub name: RuleName,
    /// The condition.
    pub condition: RuleCondition,
}

/// The condition under which a [`Rule`] matches a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleCondition {
    /// A span has the status error.
    Error,
    /// The trace takes longer than this, from the first start to the last end of a span.
    SlowerThan(Duration),
    /// A span or its resource has an attribute with one of these values, as text.
    Attribute {
        /// The attribute's key.
        key: AttributeKey,
        /// The values, at least one.
        values: Vec<String>,
    },
}

impl RuleCondition {
    /// The shortest duration.
    pub const MIN_DURATION: Duration = Duration::from_millis(1);
    /// The longest duration, far longer than traces are held before the decision.
    pub const MAX_DURATION: Duration = Duration::from_secs(3600);
    const DURATIONS: RangeInclusive<Duration> = Self::MIN_DURATION..=Self::MAX_DURATION;
    /// The most values that one attribute condition may list.
    pub const MAX_VALUES: usize = 64;
    /// The longest value, in bytes.
    pub const MAX_VALUE_BYTES: usize = 256;

    /// Checks durations and values against their limits.
    ///
    /// # Errors
    /// [`InvalidCondition`] names the violated limit.
    pub fn check(&self) -> Result<(), InvalidCondition> {
        match self {
            Self::SlowerThan(duration) if !Self::DURATIONS.contains(duration) => {
                Err(InvalidCondition::Duration(*duration))
            }
            Self::SlowerThan(_) | Self::Error => Ok(()),
            Self::Attribute { values, .. } => check_values(values),
        }
    }
}

fn check_values(values: &[String]) -> Result<(), InvalidCondition> {
    if values.is_empty() {
        return Err(InvalidCondition::NoValues);
    }
    if values.len() > RuleCondition::MAX_VALUES {
        return Err(InvalidCondition::TooManyValues(values.len()));
    }
    let mut lengths = values.iter().map(String::len);
    match lengths.find(|len| *len > RuleCondition::MAX_VALUE_BYTES) {
        Some(len) => Err(InvalidCondition::ValueTooLong(len)),
        None => Ok(()),
    }
}

/// The error for a [`RuleCondition`] beyond a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCondition {
    /// Below a millisecond or above [`RuleCondition::MAX_DURATION`].
    #[error("must be from 1ms to 1h, not {0:?}")]
    Duration(Duration),
    /// An attribute without values.
    #[error("must have at least one value")]
    NoValues,
    /// More values than [`RuleCondition::MAX_VALUES`].
    #[error("must have at most {max} values, not {0}", max = RuleCondition::MAX_VALUES)]
    TooManyValues(usize),
    /// A value longer than [`RuleCondition::MAX_VALUE_BYTES`].
    #[error("must have values of at most {max} bytes, not {0}", max = RuleCondition::MAX_VALUE_BYTES)]
    ValueTooLong(usize),
}

/// The error for rules that do not form a valid [`TailPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTail {
    /// Two rules with the same name.
    #[error("duplicate rule name \"{0}\"; rename one of the rules")]
    DuplicateRule(RuleName),
    /// More rules than [`TailPolicy::MAX_RULES`].
    #[error("must have at most {max} rules, not {0}", max = TailPolicy::MAX_RULES)]
    TooManyRules(usize),
    /// A rule with a condition beyond a limit.
    #[error("rule \"{rule}\": {source}")]
    Condition {
        /// The rule.
        rule: RuleName,
        /// The limit.
        source: InvalidCondition,
    },
}

impl TailPolicy {
    /// The most rules that one policy may have.
    pub const MAX_RULES: usize = 32;

    /// Creates a tail policy and checks its rules.
    ///
    /// # Errors
    /// [`InvalidTail`] for too many rules, a duplicate name or a condition beyond a limit.
    pub fn new(keep: Vec<Rule>, otherwise: Probability) -> Result<Self, InvalidTail> {
        if keep.len() > Self::MAX_RULES {
            return Err(InvalidTail::TooManyRules(keep.len()));
        }
        if let Some(name) = first_duplicate(keep.iter().map(|rule| &rule.name)) {
            return Err(InvalidTail::DuplicateRule(name.clone()));
        }
        for Rule { name, condition } in &keep {
            condition.check().map_err(|source| InvalidTail::Condition {
                rule: name.clone(),
                source,
            })?;
        }
        Ok(Self {
            attributes: AttributeIndex::of(&keep).into(),
            keep: keep.into(),
            otherwise,
        })
    }

    /// The index of the first rule that this attribute satisfies.
    #[must_use]
    pub fn attribute_rule(&self, key: &[u8], value: AttributeValue<'_>) -> Option<usize> {
        self.attributes.first(&self.keep, key, value)
    }

    /// The rules, in the order of their evaluation.
    #[must_use]
    pub fn keep(&self) -> &[Rule] {
        &self.keep
    }

    /// The overall probability, head and tail together, for traces that match no rule.
    #[must_use]
    pub fn otherwise(&self) -> Probability {
        self.otherwise
    }
}

/// The tail policies in force, by the service and operation of a trace's root span. A trace to
/// which none applies is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailTable {
    pub(crate) namespaces: BTreeMap<Namespace, NamespaceTail>,
}

/// A place where a policy of a [`TailTable`] decides, by the root span of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailPlace<'t> {
    /// One operation of a service.
    Operation(&'t ServiceName, &'t OperationName),
    /// All other operations of a service.
    Service(&'t ServiceName),
    /// All other services of the namespace.
    Namespace,
}

/// A namespace's part of a [`TailTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceTail {
    pub(crate) services: BTreeMap<ServiceName, ServiceTail>,
    pub(crate) others: Option<NamedTail>,
}

/// A tail policy with the name of its policy.
pub(crate) type NamedTail = (PolicyName, TailPolicy);

/// A service's part of a [`NamespaceTail`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTail {
    pub(crate) operations: BTreeMap<OperationName, NamedTail>,
    pub(crate) others: Option<NamedTail>,
}

impl TailTable {
    /// True if there is no policy. Every trace is kept then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Removes a namespace's policies, so that all of its traces are kept.
    pub fn remove(&mut self, namespace: &Namespace) {
        self.namespaces.remove(namespace);
    }

    /// A namespace's policies and their places, most specific first. The first place that contains a
    /// trace's root span decides.
    pub fn places(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = (TailPlace<'_>, &PolicyName, &TailPolicy)> {
        let tail = self.namespaces.get(namespace);
        let services = || tail.into_iter().flat_map(|tail| &tail.services);
        let operations = services().flat_map(|(service, tail)| {
            let operations = tail.operations.iter();
            operations.map(move |(name, named)| (TailPlace::Operation(service, name), named))
        });
        let other_operations = services().filter_map(|(service, tail)| {
            Some((TailPlace::Service(service), tail.others.as_ref()?))
        });
        let other_services = tail.and_then(|tail| tail.others.as_ref());
        operations
            .chain(other_operations)
            .chain(other_services.map(|named| (TailPlace::Namespace, named)))
            .map(|(place, (name, policy))| (place, name, policy))
    }

    /// The policy for traces whose root span has this service and name, if any, with its namespace
    /// and name.
    #[must_use]
    pub fn policy(
        &self,
        namespace: &str,
        service: &str,
        operation: &str,
    ) -> Option<(&Namespace, &PolicyName, &TailPolicy)> {
        let (name, namespace) = self.namespaces.get_key_value(namespace)?;
        let own = namespace.services.get(service);
        // The most specific place decides: operation, service, namespace.
        own.and_then(|tail| tail.operations.get(operation))
            .or_else(|| own.and_then(|tail| tail.others.as_ref()))
            .or(namespace.others.as_ref())
            .map(|(policy, tail)| (name, policy, tail))
    }
}
