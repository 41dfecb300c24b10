//! The services of the lab.

use std::fmt;

/// A service, by its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Service {
    /// An edge that calls service-b
    ServiceA,
    /// Waits as if for a database, then computes
    ServiceB,
    /// The wishlist's web page and JSON API
    Gateway,
    /// Stores the wishes
    Wishlist,
    /// Searches the marketplaces for offers
    Offers,
    /// A marketplace that is slow and reliable
    MarketplaceAttic,
    /// A marketplace that is fast and often fails
    MarketplaceBazaar,
    /// A marketplace that accepts few requests per second
    MarketplaceCorner,
    /// Bands with their reviews
    Bands,
    /// Reviews of bands
    Reviews,
    /// A to-do list
    Tasks,
    /// Accepts images to classify
    Preprocessing,
    /// Queries both models and weights their votes
    Ensemble,
    /// A model of MBConv blocks
    Efficientnetb0,
    /// A model of inverted residuals
    Mobilenetv2,
}

impl Service {
    /// Every service, in the order that determines the ops ports.
    pub const ALL: [Self; 15] = [
        Self::ServiceA,
        Self::ServiceB,
        Self::Gateway,
        Self::Wishlist,
        Self::Offers,
        Self::MarketplaceAttic,
        Self::MarketplaceBazaar,
        Self::MarketplaceCorner,
        Self::Bands,
        Self::Reviews,
        Self::Tasks,
        Self::Preprocessing,
        Self::Ensemble,
        Self::Efficientnetb0,
        Self::Mobilenetv2,
    ];

    /// The `service.name`, which is also the subcommand of `spoor run`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// The default port.
    #[must_use]
    pub fn port(self) -> u16 {
        self.facts().1
    }

    /// The default ops port, for metrics and health.
    #[must_use]
    pub fn ops_port(self) -> u16 {
        // The variants' order is stable: new services are added at the end.
        9464 + self as u16
    }

    /// True for services that receive requests from outside the mesh. When the lab stops, edges
    /// stop first, while the services that they call still respond.
    #[must_use]
    pub fn is_edge(self) -> bool {
        // A list and not a property of the port, since `bands` calls `reviews` over HTTP too, which
        // is not an edge.
        matches!(
            self,
            Self::ServiceA | Self::Gateway | Self::Bands | Self::Tasks | Self::Preprocessing
        )
    }

    fn facts(self) -> (&'static str, u16) {
        match self {
            Self::ServiceA => ("service-a", 8080),
            Self::ServiceB => ("service-b", 9001),
            Self::Gateway => ("gateway", 8081),
            Self::Wishlist => ("wishlist", 9002),
            Self::Offers => ("offers", 9003),
            Self::MarketplaceAttic => ("marketplace-attic", 9004),
            Self::MarketplaceBazaar => ("marketplace-bazaar", 9005),
            Self::MarketplaceCorner => ("marketplace-corner", 9006),
            Self::Bands => ("bands", 8082),
            Self::Reviews => ("reviews", 9007),
            Self::Tasks => ("tasks", 8083),
            Self::Preprocessing => ("preprocessing", 8084),
            Self::Ensemble => ("ensemble", 9008),
            Self::Efficientnetb0 => ("efficientnetb0", 9009),
            Self::Mobilenetv2 => ("mobilenetv2", 9010),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
