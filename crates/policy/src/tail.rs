//! What is kept of a trace once it is whole.

mod digest;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    AttributeKey, Namespace, OperationName, PolicyName, Probability, RuleName, ServiceName,
};

/// Tail rules for the traces whose root span is of a target: kept if a rule matches, otherwise
/// with a probability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailPolicy {
    keep: Vec<Rule>,
    otherwise: Probability,
}

/// One reason to keep a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: RuleName,
    /// When it matches.
    pub condition: Condition,
}

/// When a [`Rule`] matches a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Some span of it has the status error.
    Error,
    /// The trace as a whole, from its first start to its last end, took longer.
    SlowerThan(Duration),
    /// Some span of it, or its resource, has the attribute with one of these values (as text).
    Attribute {
        /// The attribute's key.
        key: AttributeKey,
        /// At least one.
        values: Vec<String>,
    },
}

impl Condition {
    /// The longest duration that can be asked for: traces are not held longer.
    pub const MAX_DURATION: Duration = Duration::from_secs(3600);
    /// The most values that one attribute may have.
    pub const MAX_VALUES: usize = 64;
    /// The longest value, in bytes.
    pub const MAX_VALUE_LEN: usize = 256;

    /// Checks durations and values against their bounds.
    ///
    /// # Errors
    /// [`InvalidCondition`] says which bound, and what was found.
    pub fn check(&self) -> Result<(), InvalidCondition> {
        match self {
            Self::Error => Ok(()),
            Self::SlowerThan(duration) => {
                let allowed = Duration::from_millis(1)..=Self::MAX_DURATION;
                if allowed.contains(duration) {
                    Ok(())
                } else {
                    Err(InvalidCondition::Duration(*duration))
                }
            }
            Self::Attribute { values, .. } => check_values(values),
        }
    }
}

fn check_values(values: &[String]) -> Result<(), InvalidCondition> {
    if values.is_empty() {
        return Err(InvalidCondition::NoValues);
    }
    if values.len() > Condition::MAX_VALUES {
        return Err(InvalidCondition::TooManyValues(values.len()));
    }
    match values
        .iter()
        .map(String::len)
        .find(|len| *len > Condition::MAX_VALUE_LEN)
    {
        Some(len) => Err(InvalidCondition::ValueTooLong(len)),
        None => Ok(()),
    }
}

/// Why a [`Condition`] is out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCondition {
    /// Under a millisecond or over [`Condition::MAX_DURATION`].
    #[error("must be from 1ms to 1h, not {0:?}")]
    Duration(Duration),
    /// An attribute without values.
    #[error("must have at least one value")]
    NoValues,
    /// More values than [`Condition::MAX_VALUES`].
    #[error("must have at most {max} values, not {0}", max = Condition::MAX_VALUES)]
    TooManyValues(usize),
    /// A value over [`Condition::MAX_VALUE_LEN`].
    #[error("must have values of at most {max} bytes, not {0}", max = Condition::MAX_VALUE_LEN)]
    ValueTooLong(usize),
}

/// Why rules make no [`TailPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTail {
    /// Two rules of one name.
    #[error("two rules have the name \"{0}\": each needs its own")]
    DuplicateRule(RuleName),
    /// More rules than [`TailPolicy::MAX_RULES`].
    #[error("must have at most {max} rules, not {0}", max = TailPolicy::MAX_RULES)]
    TooManyRules(usize),
    /// A rule whose condition is out of bounds.
    #[error("rule \"{rule}\" {source}")]
    Condition {
        /// The rule.
        rule: RuleName,
        /// The bound.
        source: InvalidCondition,
    },
}

impl TailPolicy {
    /// The most rules that one policy may have.
    pub const MAX_RULES: usize = 32;

    /// Checks the rules.
    ///
    /// # Errors
    /// [`InvalidTail`] for too many rules, a name that stands twice or a condition out of bounds.
    pub fn new(keep: Vec<Rule>, otherwise: Probability) -> Result<Self, InvalidTail> {
        if keep.len() > Self::MAX_RULES {
            return Err(InvalidTail::TooManyRules(keep.len()));
        }
        for (at, rule) in keep.iter().enumerate() {
            if keep
                .iter()
                .take(at)
                .any(|earlier| earlier.name == rule.name)
            {
                return Err(InvalidTail::DuplicateRule(rule.name.clone()));
            }
            rule.condition
                .check()
                .map_err(|source| InvalidTail::Condition {
                    rule: rule.name.clone(),
                    source,
                })?;
        }
        Ok(Self { keep, otherwise })
    }

    /// The rules, in the order in which they are asked.
    #[must_use]
    pub fn keep(&self) -> &[Rule] {
        &self.keep
    }

    /// The overall probability, head and tail together, of what no rule keeps.
    #[must_use]
    pub fn otherwise(&self) -> Probability {
        self.otherwise
    }
}

/// The tail policies in force, by what a trace's root span is of. A trace that finds none here
/// is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TailTable {
    pub(crate) namespaces: BTreeMap<Namespace, NamespaceTail>,
}

/// Where a policy of a [`TailTable`] decides: about the traces whose root span is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'t> {
    /// One operation of a service.
    Operation(&'t ServiceName, &'t OperationName),
    /// What is left of a service.
    Service(&'t ServiceName),
    /// What is left of the namespace.
    Namespace,
}

/// A namespace's part of a [`TailTable`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamespaceTail {
    pub(crate) services: BTreeMap<ServiceName, ServiceTail>,
    pub(crate) otherwise: Option<Named>,
}

/// A tail policy and whose it is.
pub(crate) type Named = (PolicyName, TailPolicy);

/// A service's part of a [`NamespaceTail`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceTail {
    pub(crate) operations: BTreeMap<OperationName, Named>,
    pub(crate) otherwise: Option<Named>,
}

impl TailTable {
    /// Whether it holds no policy, so that every trace is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// A namespace's policies and where each decides, the most specific places first: a trace is
    /// decided at the first place that its root span is at.
    pub fn places(
        &self,
        namespace: &Namespace,
    ) -> impl Iterator<Item = (Place<'_>, &PolicyName, &TailPolicy)> {
        let tail = self.namespaces.get(namespace);
        let services = || tail.into_iter().flat_map(|tail| &tail.services);
        let operations = services().flat_map(|(service, tail)| {
            let operations = tail.operations.iter();
            operations.map(move |(name, named)| (Place::Operation(service, name), named))
        });
        let wholes = services().filter_map(|(service, tail)| {
            Some((Place::Service(service), tail.otherwise.as_ref()?))
        });
        let rest = tail.and_then(|tail| tail.otherwise.as_ref());
        operations
            .chain(wholes)
            .chain(rest.map(|named| (Place::Namespace, named)))
            .map(|(place, (name, policy))| (place, name, policy))
    }

    /// The policy for traces whose root span has this service and name, if any.
    #[must_use]
    pub fn policy(
        &self,
        namespace: &str,
        service: &str,
        operation: &str,
    ) -> Option<(&PolicyName, &TailPolicy)> {
        let namespace = self.namespaces.get(namespace)?;
        let own = namespace.services.get(service);
        own.and_then(|tail| tail.operations.get(operation))
            .or_else(|| own.and_then(|tail| tail.otherwise.as_ref()))
            .or(namespace.otherwise.as_ref())
            .map(|(name, policy)| (name, policy))
    }
}
