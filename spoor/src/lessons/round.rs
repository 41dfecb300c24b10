//! A round of lesson 2: requests through a mesh in which something is slow.

mod marker;
mod send;

pub use marker::Marker;
pub use send::start;

/// The services that a round sends requests to.
pub const EDGES: [&str; 3] = ["service-a", "gateway", "preprocessing"];
/// The service name of the spans that announce rounds.
pub const ANNOUNCER: &str = "spoor-lesson";

/// The part that is slow in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowPart {
    /// The wait of service-b.
    Wait,
    /// The calculation of service-b.
    HeavyCalc,
    /// The marketplace of this name.
    Marketplace(&'static str),
    /// The model of this name, which is not loaded yet.
    ColdModel(&'static str),
}

impl SlowPart {
    const ALL: [Self; 6] = [
        Self::Wait,
        Self::HeavyCalc,
        Self::Marketplace("marketplace-attic"),
        Self::ColdModel("efficientnetb0"),
        Self::Marketplace("marketplace-bazaar"),
        Self::Marketplace("marketplace-corner"),
    ];

    /// Chooses the slow part, the same for equal seeds.
    pub fn of(seed: u32) -> Self {
        let index = usize::try_from(seed).unwrap_or_default() % Self::ALL.len();
        Self::ALL.get(index).copied().unwrap_or(Self::Wait)
    }

    /// The number of requests in a round, each of which has a trace.
    pub fn requests(self) -> usize {
        match self {
            // Enough to show a pattern.
            Self::Wait | Self::HeavyCalc => 4,
            // One wish is searched for in all marketplaces.
            Self::Marketplace(_) => 1,
            // The model loads for the first of them only.
            Self::ColdModel(_) => 2,
        }
    }
}

/// The delay of a slow marketplace in milliseconds. With it, the marketplace takes far longer than
/// any other, and less than the timeout of `offers`, after which it would search again.
fn delay_milliseconds(marketplace: &str) -> u64 {
    match marketplace {
        // It is the slowest without a delay, too.
        "marketplace-attic" => 700,
        _ => 1_600,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delayed_marketplace_is_clearly_slowest() {
        // In milliseconds: the latencies of the lab's marketplaces, and the timeout of an attempt of
        // `offers`.
        const LATENCIES: [(&str, u64, u64); 3] = [
            ("marketplace-attic", 400, 1_200),
            ("marketplace-bazaar", 20, 80),
            ("marketplace-corner", 80, 250),
        ];
        const ATTEMPT_TIMEOUT_MS: u64 = 2_000;
        for (name, shortest, longest) in LATENCIES {
            assert!(SlowPart::ALL.contains(&SlowPart::Marketplace(name)));
            let delay = delay_milliseconds(name);
            let others = LATENCIES.iter().filter(|(other, ..)| *other != name);
            let slowest = others.map(|(.., longest)| *longest).max().unwrap_or(0);
            assert!(delay + shortest > slowest + 400, "{name}");
            assert!(delay + longest <= ATTEMPT_TIMEOUT_MS - 100, "{name}");
        }
    }
}
