//! The list of lessons.

use std::str::FromStr;

use super::{
    answers::{AnswerFormat, Form},
    checks,
    context::Context,
    report::Report,
    round::EDGES,
};
use crate::traces::Part;

/// A lesson.
#[derive(Clone, Copy, Debug, PartialEq, Eq, derive_more::Display)]
#[display("lesson {}", self.facts().number)]
pub enum Lesson {
    /// A trace sent with curl.
    FirstTrace,
    /// A bottleneck, which differs from round to round.
    Bottleneck,
    /// A span of the learner's own.
    ManualSpan,
    /// The origin of an error.
    Errors,
    /// A forged context, inside the mesh and at an edge.
    ContextPropagation,
    /// The benefits and the cost of a stage between services and store.
    Route,
    /// The rates 1 % and 0.1 %, and their confidence intervals.
    Rates,
    /// A tail rule that keeps every failed request, and a share of the others.
    KeepErrors,
    /// Two policies with the same target.
    Conflict,
    /// From a latency bucket to a trace, by an exemplar.
    MetricsBesideTraces,
}

/// The properties of a lesson.
pub struct Facts {
    /// The number that `spoor lesson` takes.
    pub number: u8,
    /// The name that `spoor lesson` takes, such as `first-trace`.
    pub name: &'static str,
    /// The whole text, as Markdown, which begins with `# NUMBER. TITLE`.
    pub text: &'static str,
    /// The answers that the check needs.
    pub answers: AnswerFormat,
}

macro_rules! facts {
    ($number:literal, $file:literal, $answers:expr) => {{
        const FILE: &str = $file;
        Facts {
            number: $number,
            // The name follows `NN-`.
            name: FILE.split_at(3).1,
            text: include_str!(concat!("../../../docs/lessons/", $file, ".md")),
            answers: $answers,
        }
    }};
}

impl Lesson {
    /// All lessons in their order.
    pub const ALL: &[Self] = &[
        Self::FirstTrace,
        Self::Bottleneck,
        Self::ManualSpan,
        Self::Errors,
        Self::ContextPropagation,
        Self::Route,
        Self::Rates,
        Self::KeepErrors,
        Self::Conflict,
        Self::MetricsBesideTraces,
    ];

    /// The lesson's properties.
    pub fn facts(self) -> Facts {
        use AnswerFormat::{Named, Nothing, One};
        match self {
            Self::FirstTrace => facts!(1, "01-first-trace", Nothing),
            Self::Bottleneck => facts!(2, "02-bottleneck", One(Form::Span)),
            Self::ManualSpan => facts!(3, "03-manual-span", Nothing),
            Self::Errors => {
                let answers = Named(&[("trace", Form::TraceId), ("began", Form::Service)]);
                facts!(4, "04-errors-turn-red", answers)
            }
            Self::ContextPropagation => facts!(5, "05-context-propagation", Nothing),
            Self::Route => {
                let answers = Named(&[("wait", Form::Seconds), ("spans", Form::Number)]);
                facts!(6, "06-direct-or-collector", answers)
            }
            Self::Rates => {
                let answers = Named(&[
                    ("requests", Form::Number),
                    ("1%", Form::Interval),
                    ("0.1%", Form::Interval),
                    ("needed", Form::Number),
                ]);
                facts!(7, "07-how-sure", answers)
            }
            Self::KeepErrors => facts!(8, "08-keep-errors", Named(&[("failed", Form::Number)])),
            Self::Conflict => facts!(9, "09-two-policies-in-conflict", Nothing),
            Self::MetricsBesideTraces => facts!(10, "10-metrics-beside-traces", One(Form::TraceId)),
        }
    }

    /// Checks the lesson's exercise.
    pub async fn check(self, context: &Context) -> anyhow::Result<Report> {
        match self {
            Self::FirstTrace => checks::first_trace::check(context).await,
            Self::Bottleneck => checks::bottleneck::check(context).await,
            Self::ManualSpan => checks::manual_span::check(context).await,
            Self::Errors => checks::errors::check(context).await,
            Self::ContextPropagation => checks::propagation::check(context).await,
            Self::Route => checks::route::check(context).await,
            Self::Rates => checks::rates::check(context).await,
            Self::KeepErrors => checks::kept_errors::check(context).await,
            Self::Conflict => checks::conflict::check(context).await,
            Self::MetricsBesideTraces => checks::metrics::check(context).await,
        }
    }

    /// The services whose traces must all be kept for the exercise.
    pub fn traced_services(self) -> &'static [&'static str] {
        match self {
            Self::FirstTrace => &["by-hand"],
            Self::Bottleneck => &EDGES,
            Self::ManualSpan | Self::Errors => &["service-a"],
            Self::ContextPropagation => &["bands", "reviews"],
            Self::MetricsBesideTraces => &["tasks"],
            Self::Route | Self::Rates | Self::KeepErrors | Self::Conflict => &[],
        }
    }

    /// The parts of policies that decide on the exercise's traces. No head decides on spans that are
    /// sent by hand.
    pub fn deciding_parts(self) -> &'static [Part] {
        match self {
            Self::FirstTrace => &[Part::Tail],
            _ => &[Part::Head, Part::Tail],
        }
    }

    /// The services of a lab to which the exercise sends requests.
    pub fn requested_services(self) -> &'static [&'static str] {
        match self {
            Self::FirstTrace => &[],
            Self::Route | Self::Rates | Self::KeepErrors | Self::Conflict => &["service-a"],
            _ => self.traced_services(),
        }
    }

    /// The title, from the first line of the text.
    pub fn title(self) -> &'static str {
        let line = self.facts().text.lines().next().unwrap_or_default();
        line.split_once(". ").map_or(line, |(_, title)| title)
    }

    fn names() -> String {
        let name = |lesson: &Self| format!("{} ({})", lesson.facts().number, lesson.facts().name);
        Self::ALL.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Lesson {
    type Err = String;

    /// Parses a number or name.
    ///
    /// # Errors
    /// A message that lists the lessons.
    fn from_str(text: &str) -> Result<Self, String> {
        // The number is parsed, so that `01` works as well.
        let is_named = |lesson: &Self| {
            lesson.facts().name == text || text.parse() == Ok(lesson.facts().number)
        };
        let found = Self::ALL.iter().copied().find(is_named);
        found.ok_or_else(|| format!("unknown lesson {text:?}; the lessons are {}", Self::names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_begins_with_its_number_and_title() {
        for (index, lesson) in Lesson::ALL.iter().enumerate() {
            let number = usize::from(lesson.facts().number);
            assert!(index < number, "in their order");
            let heading = format!("# {number}. {}\n", lesson.title());
            assert!(lesson.facts().text.starts_with(&heading), "{lesson}");
            let check = format!("spoor check {number}");
            assert!(
                lesson.facts().text.contains(&check),
                "{lesson} names its check"
            );
        }
    }

    #[test]
    fn parses_numbers_and_names() {
        assert_eq!("1".parse(), Ok(Lesson::FirstTrace));
        assert_eq!("first-trace".parse(), Ok(Lesson::FirstTrace));
        for wrong in ["0", "99", "", "first"] {
            assert!(wrong.parse::<Lesson>().is_err(), "{wrong}");
        }
    }
}
