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
}
