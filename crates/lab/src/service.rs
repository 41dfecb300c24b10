//! The services of the lab.

use std::fmt;

/// A service, by its `service.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// An edge that calls service-b.
    ServiceA,
    /// Simulates a database query, then computes.
    ServiceB,
    /// The wishlist's web page and JSON API.
    Gateway,
    /// Stores the wishes.
    Wishlist,
    /// Searches the marketplaces for offers.
    Offers,
    /// A marketplace that is slow and reliable.
    MarketplaceAttic,
    /// A marketplace that is fast and often fails.
    MarketplaceBazaar,
    /// A marketplace that accepts few requests per second.
    MarketplaceCorner,
    /// Bands with their reviews.
    Bands,
    /// Reviews of bands.
    Reviews,
    /// A to-do list.
    Tasks,
    /// Accepts images to classify.
    Preprocessing,
    /// Queries both models and weights their votes.
    Ensemble,
    /// A model of MBConv blocks.
    Efficientnetb0,
    /// A model of inverted residuals.
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

    /// A description in one line, for help.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::ServiceA => "An edge that calls service-b",
            Self::ServiceB => "Simulates a database query, then computes",
            Self::Gateway => "The wishlist's web page and JSON API",
            Self::Wishlist => "Stores the wishes",
            Self::Offers => "Searches the marketplaces for offers",
            Self::MarketplaceAttic => "A marketplace that is slow and reliable",
            Self::MarketplaceBazaar => "A marketplace that is fast and often fails",
            Self::MarketplaceCorner => "A marketplace that accepts few requests per second",
            Self::Bands => "Bands with their reviews",
            Self::Reviews => "Reviews of bands",
            Self::Tasks => "A to-do list",
            Self::Preprocessing => "Accepts images to classify",
            Self::Ensemble => "Queries both models and weights their votes",
            Self::Efficientnetb0 => "A model of MBConv blocks",
            Self::Mobilenetv2 => "A model of inverted residuals",
        }
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
        self.page().is_some()
    }

    /// For an edge, the path to open first and a description of what it returns.
    #[must_use]
    pub fn page(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Self::ServiceA => ("", "a request to service-a, which calls service-b"),
            Self::Gateway => ("", "the wishlist; /docs shows what is running"),
            Self::Bands => ("/bands", "bands; /bands/UUID is one with its reviews"),
            Self::Tasks => ("/tasks", "a to-do list"),
            Self::Preprocessing => ("", "image classification"),
            // A list and not a property of the port: `reviews` also serves HTTP and is not an edge.
            Self::ServiceB
            | Self::Wishlist
            | Self::Offers
            | Self::MarketplaceAttic
            | Self::MarketplaceBazaar
            | Self::MarketplaceCorner
            | Self::Reviews
            | Self::Ensemble
            | Self::Efficientnetb0
            | Self::Mobilenetv2 => return None,
        })
    }

    /// The name and the port.
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
        // `pad` applies the width of a format such as `{service:<10}`.
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabPorts;

    #[test]
    fn default_ports_differ() {
        assert_eq!(LabPorts::default().find_shared_port(&Service::ALL), None);
    }
}
