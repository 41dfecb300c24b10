//! The lessons there are.

use std::{fmt, str::FromStr};

use super::{answers::Asked, checks, place::Place, report::Report};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// A trace that is sent with curl.
    FirstTrace,
    /// What is slow moves from round to round.
    Bottleneck,
    /// A span of the learner's own.
    ManualSpan,
    /// Where an error began.
    Errors,
    /// A forged context, inside and at an edge.
    ContextPropagation,
    /// What a stage between services and store can do, and its price.
    Route,
    /// 1 % and 0.1 %, and how sure one can be.
    Rates,
    /// Every failed request, of few others.
    KeepErrors,
    /// Two policies that want the same service.
    Conflict,
    /// From a latency bucket by its exemplar to the trace.
    MetricsBesideTraces,
}

/// What is known of a lesson.
struct Facts {
    number: u8,
    name: &'static str,
    /// Its text, which begins with `# NUMBER. TITLE`.
    text: &'static str,
}

/// No such lesson.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no lesson {asked:?}: there are {}", Lesson::names())]
pub struct UnknownLesson {
    asked: String,
}

macro_rules! facts {
    ($number:literal, $file:literal) => {{
        const FILE: &str = $file;
        Facts {
            number: $number,
            // Behind `NN-`.
            name: FILE.split_at(3).1,
            text: include_str!(concat!("../../../docs/lessons/", $file, ".md")),
        }
    }};
}

impl Lesson {
    /// Every one, in their order.
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

    fn facts(self) -> Facts {
        match self {
            Self::FirstTrace => facts!(1, "01-first-trace"),
            Self::Bottleneck => facts!(2, "02-bottleneck"),
            Self::ManualSpan => facts!(3, "03-manual-span"),
            Self::Errors => facts!(4, "04-errors-turn-red"),
            Self::ContextPropagation => facts!(5, "05-context-propagation"),
            Self::Route => facts!(6, "06-direct-or-collector"),
            Self::Rates => facts!(7, "07-how-sure"),
            Self::KeepErrors => facts!(8, "08-keep-errors"),
            Self::Conflict => facts!(9, "09-two-policies-in-conflict"),
            Self::MetricsBesideTraces => facts!(10, "10-metrics-beside-traces"),
        }
    }

    /// Looks whether what it asks for is there.
    pub async fn check(self, place: &Place) -> anyhow::Result<Report> {
        match self {
            Self::FirstTrace => checks::first_trace::check(place).await,
            Self::Bottleneck => checks::bottleneck::check(place).await,
            Self::ManualSpan => checks::manual_span::check(place).await,
            Self::Errors => checks::errors::check(place).await,
            Self::ContextPropagation => checks::propagation::check(place).await,
            Self::Route => checks::route::check(place).await,
            Self::Rates => checks::rates::check(place).await,
            Self::KeepErrors => checks::kept_errors::check(place).await,
            Self::Conflict => checks::conflict::check(place).await,
            Self::MetricsBesideTraces => checks::metrics::check(place).await,
        }
    }

    /// The answer that its check needs.
    pub fn asked(self) -> Asked {
        match self {
            Self::FirstTrace | Self::ManualSpan | Self::ContextPropagation | Self::Conflict => {
                Asked::Nothing
            }
            Self::Bottleneck => Asked::One("'SERVICE: SPAN'"),
            Self::Errors => Asked::Named(&[("trace", "ID"), ("began", "SERVICE")]),
            Self::Route => Asked::Named(&[("wait", "SECONDS"), ("spans", "NUMBER")]),
            Self::Rates => Asked::Named(&[
                ("requests", "NUMBER"),
                ("1%", "LOWER..UPPER"),
                ("0.1%", "LOWER..UPPER"),
                ("needed", "NUMBER"),
            ]),
            Self::KeepErrors => Asked::Named(&[("failed", "N")]),
            Self::MetricsBesideTraces => Asked::One("TRACE_ID"),
        }
    }

    /// What `spoor lesson` calls it.
    pub fn number(self) -> u8 {
        self.facts().number
    }

    /// The same in words: `first-trace`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The whole text, as Markdown.
    pub fn text(self) -> &'static str {
        self.facts().text
    }

    /// The first line's.
    pub fn title(self) -> &'static str {
        let line = self.text().lines().next().unwrap_or_default();
        line.split_once(". ").map_or(line, |(_, title)| title)
    }

    fn names() -> String {
        let name = |lesson: &Self| format!("{} ({})", lesson.number(), lesson.name());
        Self::ALL.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

impl FromStr for Lesson {
    type Err = UnknownLesson;

    /// By number or name.
    fn from_str(text: &str) -> Result<Self, UnknownLesson> {
        let is_it = |lesson: &&Self| lesson.name() == text || text.parse() == Ok(lesson.number());
        Self::ALL
            .iter()
            .find(is_it)
            .copied()
            .ok_or_else(|| UnknownLesson {
                asked: text.to_owned(),
            })
    }
}

impl fmt::Display for Lesson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lesson {}", self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_begins_with_its_number_and_title() {
        for (index, lesson) in Lesson::ALL.iter().enumerate() {
            let number = usize::from(lesson.number());
            assert!(index < number, "in their order");
            let heading = format!("# {number}. {}\n", lesson.title());
            assert!(lesson.text().starts_with(&heading), "{lesson}");
            let check = format!("spoor check {number}");
            assert!(
                lesson.text().contains(&check),
                "{lesson} says how it is checked"
            );
        }
    }

    #[test]
    fn a_lesson_has_a_number_and_a_name() {
        assert_eq!("1".parse(), Ok(Lesson::FirstTrace));
        assert_eq!("first-trace".parse(), Ok(Lesson::FirstTrace));
        for wrong in ["0", "99", "", "first"] {
            assert!(wrong.parse::<Lesson>().is_err(), "{wrong}");
        }
    }
}
