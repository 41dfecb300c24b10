//! The part of a lesson that checks the exercise.

use std::collections::BTreeMap;

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Answer, Finding, FindingState, LessonReport, LessonText, Question, Round, list};
use crate::{BackendError, layout::Site, text};

/// The most characters of a finding that are shown.
const MAX_FINDING_CHARACTERS: usize = 1_000;
/// The most bytes of an answer. Correct ones are far shorter.
const MAX_ANSWER_BYTES: usize = 1_000;

/// The fields of the form, by name.
pub(super) type Fields = BTreeMap<String, String>;

/// The learner's last request, and its result.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    /// The fields as they were sent.
    pub fields: Fields,
    /// The result.
    pub outcome: Outcome,
}

/// The result of a request.
#[derive(Debug, Default)]
pub(super) enum Outcome {
    /// No request was made.
    #[default]
    Nothing,
    /// The check has ended.
    Checked(LessonReport),
    /// A round was started.
    Started(Round),
    /// The request failed.
    Failed(BackendError),
}

/// The lesson whose exercise is shown.
pub(super) struct Exercise<'a> {
    pub site: &'a Site,
    pub number: usize,
    pub lesson: &'a LessonText,
    /// The number of the next lesson, if any.
    pub next: Option<usize>,
    /// The token of the forms; `None` if the console is read-only.
    pub token: Option<&'a str>,
    pub attempt: &'a Attempt,
}

/// The answers in the fields of a form, except empty ones.
///
/// # Errors
/// [`BackendError::Validate`] if an answer is too long.
pub(super) fn answers(
    fields: &Fields,
    questions: &[Question],
) -> Result<Vec<Answer>, BackendError> {
    let mut answers = vec![];
    for (index, question) in questions.iter().enumerate() {
        let text = fields
            .get(&field_name(index))
            .map_or("", |text| text.trim());
        if text.len() > MAX_ANSWER_BYTES {
            let label = label(question);
            let problem = format!("{label}: longer than {MAX_ANSWER_BYTES} bytes");
            return Err(BackendError::Validate(vec![problem]));
        }
        if !text.is_empty() {
            answers.push(Answer {
                key: question.key.clone(),
                text: text.to_owned(),
            });
        }
    }
    Ok(answers)
}

impl Exercise<'_> {
    /// The forms and the result.
    pub(super) fn render(&self) -> Markup {
        html! {
            section #exercise .exercise aria-labelledby="check" {
                h2 #check { "Check your work" }
                @match self.token {
                    Some(token) => (self.forms(token)),
                    None => p {
                        "This console is read-only. Check in a terminal: "
                        code { "spoor check " (self.number) }
                    },
                }
                (self.outcome())
            }
        }
    }

    fn forms(&self, token: &str) -> Markup {
        let link = |action: &str| self.site.link(&format!("lessons/{}/{action}", self.number));
        html! {
            @if self.lesson.has_rounds {
                form method="post" action=(link("round")) data-exercise="Starting the round…" {
                    input type="hidden" name="token" value=(token);
                    button .quiet { "Start a round" }
                }
            }
            form method="post" action=(link("check")) data-exercise="Checking…" {
                input type="hidden" name="token" value=(token);
                @for (index, question) in self.lesson.questions.iter().enumerate() {
                    (self.field(index, question))
                }
                button { "Check" }
            }
        }
    }

    fn field(&self, index: usize, question: &Question) -> Markup {
        let name = field_name(index);
        let value = self.attempt.fields.get(&name).map_or("", String::as_str);
        let has_explanation = !question.explanation.is_empty();
        let explanation = format!("{name}-explanation");
        html! {
            div .field {
                label for=(name) { (label(question)) }
                input id=(name) name=(name) value=(value) placeholder=(question.placeholder)
                    maxlength=(MAX_ANSWER_BYTES) autocomplete="off" spellcheck="false"
                    aria-describedby=[has_explanation.then_some(&explanation)];
                @if has_explanation {
                    p .hint id=(explanation) { (question.placeholder) ": " (question.explanation) }
                }
            }
        }
    }

    fn outcome(&self) -> Markup {
        let content = match &self.attempt.outcome {
            Outcome::Nothing => html! {},
            Outcome::Checked(report) => self.report(report),
            Outcome::Started(round) => self.round(round),
            Outcome::Failed(error) => html! {
                @for line in error.to_string().lines() {
                    p .failure { (text::cut(line, MAX_FINDING_CHARACTERS)) }
                }
            },
        };
        html! { div #outcome .outcome role="status" tabindex="-1" { (content) } }
    }

    fn report(&self, report: &LessonReport) -> Markup {
        html! {
            ul .checks { @for finding in &report.findings { (item(finding)) } }
            @if !report.sources.is_empty() {
                @let sources = report.sources.join("; ");
                p .soft { "Read " (text::cut(&sources, MAX_FINDING_CHARACTERS)) "." }
            }
            @if report.is_passed {
                p .done { strong { "Passed: " (self.lesson.title) "." } }
                @match self.next {
                    Some(next) => p {
                        a .button href=(list::link(self.site, next)) { "Go to lesson " (next) }
                    },
                    None => p { a href=(self.site.link("lessons")) { "All lessons" } },
                }
            } @else {
                p { strong { "Not done yet." } " The hints below may help." }
            }
        }
    }

    fn round(&self, round: &Round) -> Markup {
        let tag = utf8_percent_encode(&round.tag, NON_ALPHANUMERIC);
        html! {
            p {
                "Requests were sent, and something was slow. "
                a href=(self.site.link(&format!("search?tags={tag}"))) {
                    "Show the traces of this round"
                }
            }
        }
    }
}

fn item(finding: &Finding) -> Markup {
    let (class, state) = match finding.state {
        FindingState::Passed => ("passed", "ok"),
        FindingState::Missing => ("missing", "missing"),
        FindingState::Wrong => ("wrong", "wrong"),
    };
    html! {
        li class=(class) {
            span .badge { (state) }
            span {
                (text::cut(&finding.what, MAX_FINDING_CHARACTERS))
                @if !finding.seen.is_empty() {
                    ": " span .soft { (text::cut(&finding.seen, MAX_FINDING_CHARACTERS)) }
                }
            }
        }
    }
}

fn field_name(index: usize) -> String {
    format!("answer-{index}")
}

fn label(question: &Question) -> &str {
    match question.key.as_str() {
        "" => "Answer",
        key => key,
    }
}
