//! Tests of the real program, with separate ports and folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod browser;
mod console;
mod control_outage;
mod deletion;
mod drain;
mod faults;
mod folder;
mod generate;
mod hostile;
mod interop;
mod lab;
mod lessons;
mod load;
mod load_and_traces;
mod otlp_options;
mod outages;
mod peer;
mod policies;
mod probe;
mod prometheus;
mod protocols;
mod refusals;
mod sdks;
mod start;
mod supervision;
mod unknown_services;
mod webdriver;
