//! A policy, valid by construction.

use jiff::Timestamp;

use crate::{OperationName, PolicyKey, ServiceName, Strategy, TailPolicy, name::first_duplicate};

/// A policy: its targets, and how their traces are sampled. Its fields can be read but not changed,
/// so that it stays valid.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Deref)]
pub struct Policy(PolicyFields);

/// The fields of a [`Policy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFields {
    /// The policy's identity.
    pub key: PolicyKey,
    /// The policy's priority. Of equally specific policies, the highest wins.
    pub priority: i32,
    /// The policy's creation time. Of policies with equal priority, the oldest wins.
    pub created: Timestamp,
    /// The policy's targets, or none for every service of its namespace.
    pub targets: Vec<Target>,
    /// The sampling at the start of a trace.
    pub head: Option<Strategy>,
    /// The sampling of complete traces.
    pub tail: Option<TailPolicy>,
    /// The time at which the policy expires.
    pub expires_at: Option<Timestamp>,
}

/// A service, or some of its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The service.
    pub service: ServiceName,
    /// The operations, or none for all.
    pub operations: Vec<OperationName>,
}

/// The error for fields that do not form a valid [`Policy`]. Each message names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Neither `head` nor `tail`.
    #[error("spec: must have `head`, `tail` or both")]
    NoHeadOrTail,
    /// A duplicate service.
    #[error("spec.targets: duplicate service \"{0}\"; list it once with all its operations")]
    DuplicateService(ServiceName),
    /// A duplicate operation.
    #[error("spec.targets: duplicate operation \"{operation}\" of \"{service}\"; list it once")]
    DuplicateOperation {
        /// The target's service.
        service: ServiceName,
        /// The operation.
        operation: OperationName,
    },
    /// More targets than [`Policy::MAX_TARGETS`].
    #[error("spec.targets: must have at most {max} entries, not {0}", max = Policy::MAX_TARGETS)]
    TooManyTargets(usize),
    /// More operations than [`Policy::MAX_OPERATIONS`].
    #[error("spec.targets: \"{service}\" must have at most {max} operations, not {found}", max = Policy::MAX_OPERATIONS)]
    TooManyOperations {
        /// The target's service.
        service: ServiceName,
        /// The number of its operations.
        found: usize,
    },
}

impl Policy {
    /// The most targets that one policy may have.
    pub const MAX_TARGETS: usize = 64;
    /// The most operations that one target may have.
    pub const MAX_OPERATIONS: usize = 64;

    /// Creates a policy, and checks the constraints between its fields.
    ///
    /// # Errors
    /// [`InvalidPolicy`] for the first violated constraint.
    pub fn new(fields: PolicyFields) -> Result<Self, InvalidPolicy> {
        // `api` reports these errors with their fields. They are checked again here, so that no
        // other caller can create an invalid policy.
        if fields.head.is_none() && fields.tail.is_none() {
            return Err(InvalidPolicy::NoHeadOrTail);
        }
        check_targets(&fields.targets)?;
        Ok(Self(fields))
    }
}

fn check_targets(targets: &[Target]) -> Result<(), InvalidPolicy> {
    if targets.len() > Policy::MAX_TARGETS {
        return Err(InvalidPolicy::TooManyTargets(targets.len()));
    }
    if let Some(service) = first_duplicate(targets.iter().map(|target| &target.service)) {
        return Err(InvalidPolicy::DuplicateService(service.clone()));
    }
    for target in targets {
        let (service, operations) = (&target.service, &target.operations);
        if operations.len() > Policy::MAX_OPERATIONS {
            return Err(InvalidPolicy::TooManyOperations {
                service: service.clone(),
                found: operations.len(),
            });
        }
        if let Some(operation) = first_duplicate(operations) {
            return Err(InvalidPolicy::DuplicateOperation {
                service: service.clone(),
                operation: operation.clone(),
            });
        }
    }
    Ok(())
}
