//! What became of each policy, and why.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;

use crate::{OperationName, PolicyName, Probability, ServiceName, Strategy};

/// What became of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds.
    pub acceptance: Acceptance,
    /// Where it decides.
    pub effective: Vec<Effective>,
    /// Where another decides instead.
    pub overridden: Vec<Overridden>,
    /// What its author should know, each a sentence.
    pub warnings: Vec<String>,
}

/// Whether a policy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Everywhere it asks for.
    Accepted,
    /// In part: these others win elsewhere.
    PartiallyOverridden(BTreeSet<PolicyName>),
    /// Nowhere: these others win.
    Conflicted(BTreeSet<PolicyName>),
    /// No longer, since then.
    Expired(Timestamp),
}

/// A place where a policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The service; none: every one that no policy names.
    pub service: Option<ServiceName>,
    /// The operation; none: all others.
    pub operation: Option<OperationName>,
    /// What it says there.
    pub setting: Setting,
}

/// What a policy says at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The head strategy.
    Head(Strategy),
    /// Tail rules, with this overall probability of the rest.
    Tail {
        /// What no rule keeps is kept with it.
        otherwise: Probability,
    },
}

/// A place where another policy decides one part.
///
/// Either it is a place that the policy asks for, and the other one wins it, or it is a smaller
/// place inside one where the policy does decide, and the other one is for just that: a policy
/// for the whole namespace is overridden in part by one for a service, and a policy for a
/// service by one for an operation of it. What another policy says of a larger place overrides
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The service; none: every one that no policy names.
    pub service: Option<ServiceName>,
    /// The operation; none: all others.
    pub operation: Option<OperationName>,
    /// What the other one decides there.
    pub part: Part,
    /// The winner.
    pub by: PolicyName,
    /// The rule by which it wins.
    pub because: Precedence,
}

/// The parts of a policy, which are resolved apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// What decides where a trace starts.
    Head,
    /// What decides once a trace is whole.
    Tail,
}

/// The rules by which one policy wins over another, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// It is for an operation; the other for more than that.
    ForOperation,
    /// It is for a service; the other for the namespace.
    ForService,
    /// Its priority is the higher.
    Priority {
        /// The winner's.
        winner: i32,
        /// The other's.
        loser: i32,
    },
    /// It is the older.
    Older,
    /// Its name is the first in the order of bytes.
    FirstByName,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Head => "head",
            Self::Tail => "tail",
        })
    }
}

impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForOperation => f.write_str("is for that operation"),
            Self::ForService => f.write_str("is for that service"),
            Self::Priority { winner, loser } => {
                write!(f, "has the higher priority ({winner} over {loser})")
            }
            Self::Older => f.write_str("is older"),
            Self::FirstByName => f.write_str("is as old and comes first by name"),
        }
    }
}

impl fmt::Display for Overridden {
    /// A sentence without its full stop: `"b" decides the head of service-a, because it is older`.
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
