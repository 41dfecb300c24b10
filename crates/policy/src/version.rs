//! Versions and digests of what is published.

use std::fmt;

/// The version of a published table. Later ones compare greater.
// The order of the fields is the order of comparison: a restarted control plane counts from 1
// again, under a later epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The start of the control plane, in Unix nanoseconds.
    pub epoch: u64,
    /// The number of the publication since then, from 1.
    pub sequence: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// A digest of a plan. Plans with equal digests are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
