//! The division of a tier's memory.

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
};

const MIB: u64 = 1 << 20;

/// The memory of a pod, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TierMemory(u64);

impl TierMemory {
    /// The memory limit in these resources, else the request, else 512 MiB.
    pub(super) fn of(resources: &ResourceRequirements) -> Self {
        let named = [&resources.limits, &resources.requests]
            .into_iter()
            .flatten();
        let memory = named.filter_map(|all| all.get("memory")).find_map(bytes);
        // No Collector starts with less than 32 MiB, and the figures below must not round to 0.
        Self(memory.unwrap_or(512 * MIB).max(32 * MIB))
    }

    /// The value of `GOMEMLIMIT`, near which Go's runtime collects garbage more often.
    pub(super) fn gomemlimit(self) -> String {
        format!("{}MiB", self.0 * 4 / 5 / MIB)
    }

    /// The hard limit of the memory limiter, above which it also forces garbage collections.
    pub(super) fn hard_mib(self) -> u64 {
        self.0 * 4 / 5 / MIB
    }

    /// The margin between that limit and the soft one, above which the limiter refuses spans, so
    /// that senders retry.
    pub(super) fn spike_mib(self) -> u64 {
        self.0 / 5 / MIB
    }

    /// The size of encoded spans that may wait to be sent. In memory they take several times as
    /// much.
    pub(super) fn queue_bytes(self) -> u64 {
        self.0 / 8
    }

    /// The number of traces that may be gathered. A trace takes more than 1 KiB, so the limiter
    /// refuses spans before any trace is evicted.
    pub(super) fn traces(self) -> u64 {
        self.0 / 1024
    }
}

/// The number of bytes of a quantity. Those in a stack have been validated.
fn bytes(quantity: &Quantity) -> Option<u64> {
    let quantity = spoor_api::stack::Quantity(quantity.0.clone());
    let millionths = quantity.millionths().ok()?;
    u64::try_from(millionths / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("512Mi", Some(512 << 20))]
    #[case("1.5Gi", Some(3 << 29))]
    #[case("200M", Some(200_000_000))]
    #[case("134217728", Some(128 << 20))]
    #[case("128974848000m", Some(128_974_848))]
    #[case("much", None)]
    fn reads_quantities(#[case] text: &str, #[case] expected: Option<u64>) {
        assert_eq!(bytes(&Quantity(text.to_owned())), expected);
    }
}
