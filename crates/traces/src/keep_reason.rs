//! The reason that a trace was kept.

use spoor_policy::{PolicyName, RuleName};

/// The reason that a trace was kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, derive_more::Display)]
pub enum KeepReason {
    /// No tail policy applies to it.
    #[display("no tail policy")]
    NoPolicy,
    /// It had no root span when it was decided, so no policy could be determined.
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
    /// No rule matched, and the policy keeps it as part of `otherwise`.
    #[display("`otherwise` of policy {policy}")]
    Otherwise {
        /// The policy.
        policy: PolicyName,
    },
    /// No rule matched, and head sampling had already kept no more than the share `otherwise`.
    #[display("head sampling (policy {policy})")]
    Head {
        /// The policy.
        policy: PolicyName,
    },
    /// A policy keeps it, but the policy's name is not recorded, since traces were kept for too
    /// many different reasons.
    #[display("a policy whose name was not recorded")]
    UnnamedPolicy,
}
