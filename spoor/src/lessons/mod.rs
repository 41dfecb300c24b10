//! `spoor lesson` and `spoor check`: exercises whose result is read from the traces themselves.
//!
//! A lesson is a text in `docs/lessons` and a check in [`checks`]. A check looks at a
//! `Place` and says what it found in a `Report`.

mod answers;
mod checks;
mod lesson;
mod place;
mod policies;
mod report;
mod round;
mod text;
mod threshold;
mod verbs;

pub use verbs::{CheckArgs, LessonArgs};
