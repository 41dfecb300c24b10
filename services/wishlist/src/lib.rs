//! A wishlist: a gateway with a page and a JSON API, and a gRPC service on SQLite or Postgres.

pub mod gateway;
pub mod marketplace;
pub mod offers;
pub mod wishlist;

/// The name of a wish.
pub type WishName = spoor_telemetry::Line;
