//! The services that load is sent to.

/// A service that receives requests from outside the mesh. It is displayed as its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display)]
#[display(rename_all = "kebab-case")]
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
}
