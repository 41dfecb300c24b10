//! `spoor lesson` and `spoor check`: exercises whose results are read from the traces themselves.
//!
//! A lesson is a text in `docs/lessons` and a check in [`checks`]. A check reads traces,
//! policies, faults and metrics through a `Context`, and lists its findings in a `Report`.

mod answers;
mod checks;
mod commands;
mod context;
mod lesson;
mod policies;
mod progress;
mod report;
mod round;
mod text;
mod threshold;

pub use commands::{CheckArgs, LessonArgs};
