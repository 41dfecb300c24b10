//! The services in one process, on ports of their own; SQLite, and a real Postgres.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod databases;
mod host;
mod infrastructure;
mod late;
mod offers;
mod page;
mod postgres;
mod running;
mod spans;
mod trace;
