//! The reason that a trace is in the store.

use std::fmt;

use spoor_policy::{PolicyName, RuleName};

/// The reason that a trace was kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// No tail policy applies to it.
    NoPolicy,
    /// It had no root span when it was decided, so no policy could be found for it.
    NoRoot,
    /// A rule of its policy matched.
    Rule {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleName,
    },
    /// No rule matched; it is in the policy's share of the others.
    Otherwise {
        /// The policy.
        policy: PolicyName,
    },
    /// No rule matched, and its head had already let through no more than the policy's share
    /// of the others.
    Head {
        /// The policy.
        policy: PolicyName,
    },
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("no tail policy"),
            Self::NoRoot => f.write_str("no root span"),
            Self::Rule { policy, rule } => write!(f, "rule {rule} of policy {policy}"),
            Self::Otherwise { policy } => write!(f, "otherwise of policy {policy}"),
            Self::Head { policy } => write!(f, "head sampling, within policy {policy}"),
        }
    }
}
