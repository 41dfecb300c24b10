//! A table of tail policies by their places, as a sampler receives it.

use std::{collections::BTreeMap, fmt};

use super::{NamedTail, NamespaceTail, TailPlace, TailPolicy, TailTable};
use crate::{Namespace, OperationName, PolicyName, ServiceName};

/// A [`TailPlace`] that owns its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedTailPlace {
    /// One operation of a service.
    Operation(ServiceName, OperationName),
    /// All other operations of a service.
    Service(ServiceName),
    /// All other services of the namespace.
    Namespace,
}

impl From<TailPlace<'_>> for OwnedTailPlace {
    fn from(place: TailPlace<'_>) -> Self {
        match place {
            TailPlace::Operation(service, operation) => {
                Self::Operation(service.clone(), operation.clone())
            }
            TailPlace::Service(service) => Self::Service(service.clone()),
            TailPlace::Namespace => Self::Namespace,
        }
    }
}

impl fmt::Display for OwnedTailPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(service, operation) => {
                write!(f, "operation {:?} of {service}", operation.as_str())
            }
            Self::Service(service) => write!(f, "{service}"),
            Self::Namespace => f.write_str("every service"),
        }
    }
}

/// The error for policies that do not form a [`TailTable`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTailTable {
    /// Two policies, or one policy twice, at the same place.
    #[error("duplicate place ({0}); list it once")]
    DuplicatePlace(OwnedTailPlace),
    /// A policy has different rules at different places.
    #[error("policy \"{0}\" has different rules at different places; make them the same")]
    DifferentRules(PolicyName),
}

impl TailTable {
    /// Creates a table of one namespace's policies, each at its place.
    ///
    /// # Errors
    /// [`InvalidTailTable`] if a place is listed twice, or a policy has different rules at two
    /// places.
    pub fn new(
        namespace: Namespace,
        places: impl IntoIterator<Item = (OwnedTailPlace, PolicyName, TailPolicy)>,
    ) -> Result<Self, InvalidTailTable> {
        let mut known: BTreeMap<PolicyName, TailPolicy> = BTreeMap::new();
        let mut tail = NamespaceTail::default();
        for (place, name, policy) in places {
            if known.get(&name).is_some_and(|known| *known != policy) {
                return Err(InvalidTailTable::DifferentRules(name));
            }
            known.insert(name.clone(), policy.clone());
            if !tail.insert(&place, (name, policy)) {
                return Err(InvalidTailTable::DuplicatePlace(place));
            }
        }
        let mut table = Self::default();
        // No empty entry, so that `is_empty` is true if there are no tail rules.
        if tail != NamespaceTail::default() {
            table.namespaces.insert(namespace, tail);
        }
        Ok(table)
    }
}

impl NamespaceTail {
    /// Sets the policy at a place; returns false if there was one already.
    fn insert(&mut self, place: &OwnedTailPlace, named: NamedTail) -> bool {
        let replaced = match place {
            OwnedTailPlace::Operation(service, operation) => {
                let service = self.services.entry(service.clone()).or_default();
                service.operations.insert(operation.clone(), named)
            }
            OwnedTailPlace::Service(service) => {
                let service = self.services.entry(service.clone()).or_default();
                service.others.replace(named)
            }
            OwnedTailPlace::Namespace => self.others.replace(named),
        };
        replaced.is_none()
    }
}
