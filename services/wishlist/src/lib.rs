//! A wishlist: a gateway with a page and a JSON API, a gRPC service on SQLite or Postgres, and a search
//! for offers on simulated marketplaces.

pub mod gateway;
pub mod marketplace;
pub mod offers;
pub mod wishlist;

/// The name of a wish.
pub type WishName = spoor_telemetry::Line;
