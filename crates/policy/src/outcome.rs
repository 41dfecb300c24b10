//! The outcome of resolution for each policy.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

use crate::{OperationName, PolicyName, Probability, ServiceName, Strategy};

/// The outcome of resolution for one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The policy's acceptance: everywhere, in part, or not at all.
    pub acceptance: Acceptance,
    /// The places where the policy decides.
    pub effective: Vec<Effective>,
    /// The places where another policy decides instead.
    pub overridden: Vec<Overridden>,
    /// Warnings for the policy's author, each a sentence without a full stop.
    pub warnings: Vec<String>,
}

/// The acceptance of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The policy decides at all its places.
    Accepted,
    /// The policy decides at some of its places. These policies win at the others.
    PartiallyOverridden(BTreeSet<PolicyName>),
    /// The policy decides nowhere. These policies win.
    Conflicted(BTreeSet<PolicyName>),
    /// The policy expired at this time.
    Expired(Timestamp),
}

/// A place where a policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The service, or `None` for every one that no policy with this part names.
    pub service: Option<ServiceName>,
    /// The operation, or `None` for all others.
    pub operation: Option<OperationName>,
    /// The policy's setting there.
    pub setting: Setting,
}

/// The setting of a policy for a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The head strategy.
    Head(Strategy),
    /// Tail rules.
    Tail {
        /// The overall probability of traces that match no rule.
        otherwise: Probability,
    },
}

/// A place where another policy decides one part.
///
/// Either both policies apply to the place and the other one wins, or the other one applies only to
/// a smaller place within it: a policy for a namespace is overridden in part by one for a service, and
/// a policy for a service by one for an operation. A policy for a larger place overrides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The service, or `None` for every one that no policy with this part names.
    pub service: Option<ServiceName>,
    /// The operation, or `None` for all others.
    pub operation: Option<OperationName>,
    /// The part that the other policy decides.
    pub part: Part,
    /// The winner.
    pub by: PolicyName,
    /// The rule by which the winner takes precedence.
    pub because: Precedence,
}

/// The parts of a policy, which are resolved separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display)]
#[display(rename_all = "lowercase")]
pub enum Part {
    /// The decision at the start of a trace.
    Head,
    /// The decision once a trace is complete.
    Tail,
}

/// The rules by which one policy wins over another, in the order of their application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
pub enum Precedence {
    /// The winner is for an operation, the other policy for a larger place.
    #[display("is for that operation")]
    ForOperation,
    /// The winner is for a service, the other policy for the namespace.
    #[display("is for that service")]
    ForService,
    /// The winner has the higher priority.
    #[display("has the higher priority ({winner} over {loser})")]
    Priority {
        /// The winner's priority.
        winner: i32,
        /// The other policy's priority.
        loser: i32,
    },
    /// The winner is older.
    #[display("is older")]
    Older,
    /// The winner is first in alphabetical order.
    #[display("is equally old and first in alphabetical order")]
    FirstByName,
}

impl fmt::Display for Overridden {
    /// Writes a sentence without a full stop: `"b" decides the head of service-a, because it is older`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" decides the {} of ", self.by, self.part)?;
        match (&self.service, &self.operation) {
            (None, _) => f.write_str("the namespace")?,
            (Some(service), None) => write!(f, "{service}")?,
            (Some(service), Some(operation)) => write!(f, "{service} \"{operation}\"")?,
        }
        write!(f, ", because it {}", self.because)
    }
}
