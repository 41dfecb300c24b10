//! `spoor lesson` and `spoor check`: exercises whose results are read from the traces themselves.
//!
//! A lesson is a text in `docs/lessons` and a check in [`checks`]. A check reads traces,
//! policies, faults and metrics through a `Context`, and lists its findings in a `Report`. The
//! console of the lab shows the same lessons as `LabLessons`.

mod answers;
mod attempt;
mod checks;
mod commands;
mod context;
mod lab_lessons;
mod lesson;
mod policies;
mod progress;
mod report;
mod round;
mod summary;
mod text;
mod threshold;

pub use commands::{CheckArgs, LessonArgs};
pub use lab_lessons::LabLessons;
