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
    /// Looks for offers on the marketplaces.
    Offers,
    /// A marketplace: slow and sure.
    MarketplaceAttic,
    /// A marketplace: quick, and often wrong.
    MarketplaceBazaar,
    /// A marketplace: takes few requests a second.
    MarketplaceCorner,
    /// Bands, with their reviews.
    Bands,
    /// What was written about bands.
    Reviews,
    /// A task manager.
    Tasks,
    /// Takes pictures to be classified.
    Preprocessing,
    /// Asks the models and weighs their votes.
    Ensemble,
    /// A model of MBConv blocks.
    Efficientnetb0,
    /// A model of inverted residuals.
    Mobilenetv2,
}

impl Service {
    /// Every one.
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

    /// Its `service.name`, which is also what `spoor run` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Its port, unless it is told another.
    #[must_use]
    pub fn port(self) -> u16 {
        self.facts().1
    }

    /// The port of its metrics and health, unless it is told another.
    #[must_use]
    pub fn ops_port(self) -> u16 {
        // In the order of the list, which is stable.
        9464 + self as u16
    }

    /// Whether requests enter here. Edges stop first, while those that they call still answer.
    #[must_use]
    pub fn is_edge(self) -> bool {
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
