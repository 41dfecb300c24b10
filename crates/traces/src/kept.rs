//! The reason that a trace is in the store.

use spoor_policy::{PolicyName, RuleName};

/// The reason that a trace was kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, derive_more::Display)]
pub enum Kept {
    /// No tail policy applies to it.
    #[display("no tail policy")]
    NoPolicy,
    /// It had no root span when it was decided, so no policy could be found for it.
    #[display("no root span")]
    NoRoot,
    /// A rule of its policy matched.
    #[display("rule {rule} of policy {policy}")]
    Rule {
        /// The policy.
        policy: PolicyName,
        /// The rule.
        rule: RuleName,
    },
    /// No rule matched; it is in the policy's share of the others.
    #[display("otherwise of policy {policy}")]
    Otherwise {
        /// The policy.
        policy: PolicyName,
    },
    /// No rule matched, and its head had already let through no more than the policy's share
    /// of the others.
    #[display("head sampling, within policy {policy}")]
    Head {
        /// The policy.
        policy: PolicyName,
    },
}
