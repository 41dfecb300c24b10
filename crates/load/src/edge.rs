//! The services that load is sent to.

use std::fmt;

/// A service that receives requests from outside the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// Calls service-b.
    ServiceA,
    /// The wishlist's web page and JSON API.
    Gateway,
    /// Bands with their reviews.
    Bands,
    /// A to-do list.
    Tasks,
    /// Image classification.
    Preprocessing,
}

impl Edge {
    /// Every edge.
    pub const ALL: [Self; 5] = [
        Self::ServiceA,
        Self::Gateway,
        Self::Bands,
        Self::Tasks,
        Self::Preprocessing,
    ];

    /// The `service.name`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceA => "service-a",
            Self::Gateway => "gateway",
            Self::Bands => "bands",
            Self::Tasks => "tasks",
            Self::Preprocessing => "preprocessing",
        }
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
