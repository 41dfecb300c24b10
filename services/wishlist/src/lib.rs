//! A wishlist: a gateway with a page and a JSON API, and a gRPC service on SQLite or Postgres.

mod duration;
pub mod gateway;
mod wish;
pub mod wishlist;

use std::time::Duration;

pub use wish::{InvalidWishName, WishName};

/// What a request in flight is given at a shutdown: longer than any may take.
const GRACE: Duration = Duration::from_secs(15);
