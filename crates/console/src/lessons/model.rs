//! The lessons that a console shows, through one trait.

use std::fmt;

use async_trait::async_trait;

use crate::BackendError;

/// Lessons with their texts, checks and progress.
#[async_trait]
pub trait Lessons: fmt::Debug + Send + Sync + 'static {
    /// All lessons, in their order.
    fn list(&self) -> Vec<LessonSummary>;

    /// The text of a lesson, or `None` if there is no such lesson.
    fn lesson(&self, number: usize) -> Option<LessonText>;

    /// Checks the exercise of a lesson, and saves the progress if it is done.
    async fn check(
        &self,
        number: usize,
        answers: Vec<Answer>,
    ) -> Result<LessonReport, BackendError>;

    /// Starts a round of a lesson whose exercise differs from round to round.
    async fn start_round(&self, number: usize) -> Result<Round, BackendError>;
}

/// A lesson in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonSummary {
    /// The number, from 1.
    pub number: usize,
    /// The title.
    pub title: String,
    /// One sentence about what it teaches.
    pub teaches: String,
    /// The services and programs that it needs.
    pub needs: String,
    /// True once its check has accepted a solution.
    pub is_passed: bool,
}

/// The text of a lesson, and what its check asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonText {
    /// The title.
    pub title: String,
    /// The whole text, as Markdown, which begins with a heading. Its sections `Your turn` and
    /// `Hints` have places of their own on the page.
    pub markdown: String,
    /// The questions whose answers the check needs.
    pub questions: Vec<Question>,
    /// True if the exercise has rounds.
    pub has_rounds: bool,
}

/// A question of a lesson.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name of the answer, which is unique within the lesson; empty if there is only one.
    pub key: String,
    /// The form of the answer, such as `TRACE_ID`.
    pub placeholder: String,
    /// An explanation of the form; empty if the placeholder shows it.
    pub explanation: String,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The key of the question.
    pub key: String,
    /// The answer, which is not empty.
    pub text: String,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LessonReport {
    /// True if the exercise is done.
    pub is_passed: bool,
    /// The data that the check has read.
    pub sources: Vec<String>,
    /// The result for each requirement.
    pub findings: Vec<Finding>,
}

/// The result for one requirement of a lesson.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The requirement.
    pub what: String,
    /// The result.
    pub state: FindingState,
    /// The observation that the check is based on; may be empty.
    pub seen: String,
}

/// The result for one requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingState {
    /// The requirement is met.
    Passed,
    /// Something is missing.
    Missing,
    /// Something contradicts the requirement.
    Wrong,
}

/// A round that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The attribute that all traces of the round have, as `KEY=VALUE`.
    pub tag: String,
}
