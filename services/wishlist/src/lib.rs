//! A wishlist: a gateway with a page and a JSON API, and a gRPC service on SQLite or Postgres.

pub mod gateway;
pub mod marketplace;
pub mod offers;
mod wish;
pub mod wishlist;

pub use wish::{InvalidWishName, WishName};
