//! The command as people use it: the real program, on ports and in folders of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod control_away;
mod drain;
mod folder;
mod hostile;
mod interop;
mod lab;
mod lessons;
mod load;
mod otlp_options;
mod outages;
mod peer;
mod probe;
mod prometheus;
mod protocols;
mod refusals;
mod sdks;
mod sight;
mod start;
mod supervision;
mod verbs;
