//! The reason that a trace was kept.

use std::fmt;

use spoor_policy::{PolicyName, RuleName};

/// The reason that a trace was kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeepReason {
    /// No tail policy applies to it.
    NoPolicy,
    /// It had no root span when it was decided, so no policy could be determined.
    NoRoot,
    /// A rule of its policy matched.
    Rule {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleName,
    },
    /// No rule matched, and the policy keeps it as part of `otherwise`.
    Otherwise {
        /// The policy.
        policy: PolicyName,
    },
    /// No rule matched, and head sampling had already kept no more than the share `otherwise`.
    Head {
        /// The policy.
        policy: PolicyName,
    },
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPolicy => f.write_str("no tail policy"),
            Self::NoRoot => f.write_str("no root span"),
            Self::Rule { policy, rule } => write!(f, "rule {rule} of policy {policy}"),
            Self::Otherwise { policy } => write!(f, "`otherwise` of policy {policy}"),
            Self::Head { policy } => write!(f, "head sampling (policy {policy})"),
        }
    }
}
