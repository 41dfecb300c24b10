//! The services that the command knows.

use std::fmt;

/// A service, by its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Service {
    /// The edge that calls service-b.
    ServiceA,
    /// Waits and computes.
    ServiceB,
    /// The wishlist's web page and JSON API.
    Gateway,
    /// Keeps the wishes.
    Wishlist,
}

impl Service {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::ServiceA,
        Self::ServiceB,
        Self::Gateway,
        Self::Wishlist,
    ];

    /// Its `service.name`, which is also what `spoor run` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceA => "service-a",
            Self::ServiceB => "service-b",
            Self::Gateway => "gateway",
            Self::Wishlist => "wishlist",
        }
    }

    /// Whether requests enter here. Edges stop first, while those that they call still answer.
    #[must_use]
    pub fn is_edge(self) -> bool {
        matches!(self, Self::ServiceA | Self::Gateway)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
