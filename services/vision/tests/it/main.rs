//! preprocessing, ensemble and both models in one process, on ports of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod accuracy;
mod hostile;
mod infrastructure;
mod models;
mod mounted;
mod onnx;
mod outages;
mod page;
mod responses;
mod running;
mod spans;
mod trace;
