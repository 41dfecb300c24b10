//! Versions of published tables, and digests of plans and tail rules.

/// The version of a published table. Later ones compare greater.
// The order of the fields is the order of comparison: a restarted control plane counts from 1
// again, under a later epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, derive_more::Display,
)]
#[display("{epoch}.{sequence}")]
pub struct Version {
    /// The start of the control plane, in Unix nanoseconds.
    pub epoch: u64,
    /// The number of the publication, or of the new division of rate limits, since then, from 1.
    pub sequence: u64,
}

/// A digest of a plan, or of a namespace's tail rules. Plans with equal digests have the same
/// effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, derive_more::Display)]
#[display("{_0:032x}")]
pub struct Digest(pub u128);
