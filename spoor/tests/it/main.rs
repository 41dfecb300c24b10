//! The command as people use it: the real program, on ports and in folders of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod control_away;
mod drain;
mod folder;
mod lab;
mod refusals;
mod start;
mod supervision;
mod verbs;
