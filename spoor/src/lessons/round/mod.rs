//! A round of lesson 2: something in the mesh is slow, and requests go through it.

mod marker;
mod send;

pub use marker::Marker;
pub use send::begin;

/// What is slow in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// service-b's wait.
    Wait,
    /// service-b's calculation.
    HeavyCalc,
    /// The marketplace of this name.
    Marketplace(&'static str),
    /// The model of this name, which has not been asked anything yet.
    ColdModel(&'static str),
}

impl Culprit {
    const ALL: [Self; 6] = [
        Self::Wait,
        Self::HeavyCalc,
        Self::Marketplace("marketplace-attic"),
        Self::ColdModel("efficientnetb0"),
        Self::Marketplace("marketplace-bazaar"),
        Self::Marketplace("marketplace-corner"),
    ];

    /// The same for the same seed.
    pub fn of(seed: u32) -> Self {
        let index = usize::try_from(seed).unwrap_or_default() % Self::ALL.len();
        Self::ALL.get(index).copied().unwrap_or(Self::Wait)
    }
}
