//! The services in one process, on ports of their own, with SQLite and a real Postgres server.
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
