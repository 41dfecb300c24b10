//! The pages of traces.

mod browser;
mod comparison;
mod differs;
mod groups;
mod import;
mod pages;
mod search;
mod serve;
#[path = "../../../traces/tests/it/spans.rs"]
mod spans;
mod views;
