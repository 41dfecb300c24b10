//! The sampler between a sender, a receiver and a control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod custody;
mod forward;
mod peers;
mod plane;
mod receiver;
mod rules;
mod running;
mod senders;
mod spans;
