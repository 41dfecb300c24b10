//! The report of a check.

use std::fmt;

use console::Style;
use serde::Serialize;
use spoor_console::lessons::{self, FindingState, LessonReport};

/// The data that a check has read, and its findings.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    // The name in the JSON output since its first version.
    #[serde(rename = "looked")]
    read: Vec<String>,
    findings: Vec<Finding>,
}

/// The result for one requirement of the lesson.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    what: String,
    state: State,
    seen: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Passed,
    Missing,
    /// Also displayed as missing, but no span that arrives later can change it.
    #[serde(rename = "missing")]
    Unanswered,
    Wrong,
}

impl Report {
    /// The first attempt that passed, or else the first one. Without attempts, `what` is missing.
    pub fn best(attempts: impl IntoIterator<Item = Self>, what: &str, seen: &str) -> Self {
        let mut first = None;
        for attempt in attempts {
            // One good attempt is enough, however many failed before it.
            if attempt.is_passed() {
                return attempt;
            }
            first.get_or_insert(attempt);
        }
        first.unwrap_or_else(|| Self::default().with_missing(what, seen))
    }

    /// Adds data that the check read, such as "the traces of service-a".
    pub fn add_source(&mut self, what: impl Into<String>) {
        self.read.push(what.into());
    }

    /// Adds a requirement that is met.
    pub fn passed(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Passed, seen);
    }

    /// Adds a missing requirement. It may still be met, since spans take a second or two to arrive.
    pub fn missing(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Missing, seen);
    }

    /// Adds a missing requirement without which the check cannot continue, and returns the report.
    pub fn with_missing(mut self, what: &str, seen: impl Into<String>) -> Self {
        self.missing(what, seen);
        self
    }

    /// Adds a missing or malformed answer, with the correct form.
    pub fn unanswered(&mut self, what: &str, form: impl Into<String>) {
        self.push(what, State::Unanswered, form);
    }

    /// Adds a violated requirement, which waiting does not change.
    pub fn wrong(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Wrong, seen);
    }

    /// Adds a finding as [`Report::passed`] if the condition holds, else as [`Report::missing`].
    pub fn expect(&mut self, holds: bool, what: &str, seen: impl Into<String>) {
        if holds {
            self.passed(what, seen);
        } else {
            self.missing(what, seen);
        }
    }

    /// Returns whether all requirements are met.
    pub fn is_passed(&self) -> bool {
        // A check without findings has not passed.
        !self.findings.is_empty() && self.findings.iter().all(|it| it.state == State::Passed)
    }

    /// Returns whether a later span may change a finding.
    pub fn can_change(&self) -> bool {
        // Even if others are wrong: a span that has yet to arrive must not be reported as missing.
        self.findings.iter().any(|it| it.state == State::Missing)
    }

    /// The report for the console, in which answers are fields of a form and not options.
    pub fn for_console(self) -> LessonReport {
        let is_passed = self.is_passed();
        let finding = |Finding { what, state, seen }| {
            let (state, seen) = match state {
                State::Passed => (FindingState::Passed, seen),
                State::Missing => (FindingState::Missing, seen),
                State::Unanswered => (FindingState::Missing, seen.replace("--answer ", "")),
                State::Wrong => (FindingState::Wrong, seen),
            };
            lessons::Finding { what, state, seen }
        };
        LessonReport {
            is_passed,
            sources: self.read,
            findings: self.findings.into_iter().map(finding).collect(),
        }
    }

    fn push(&mut self, what: &str, state: State, seen: impl Into<String>) {
        self.findings.push(Finding {
            what: what.to_owned(),
            state,
            seen: seen.into(),
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in &self.read {
            writeln!(f, "Read {source}.")?;
        }
        for Finding { what, state, seen } in &self.findings {
            let (mark, style) = match state {
                State::Passed => ("ok     ", Style::new().green()),
                State::Missing | State::Unanswered => ("missing", Style::new().yellow()),
                State::Wrong => ("wrong  ", Style::new().red()),
            };
            write!(f, "  {}  {what}", style.apply_to(mark))?;
            if seen.is_empty() {
                writeln!(f)?;
            } else {
                writeln!(f, ": {seen}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_once_everything_is_found() {
        let mut report = Report::default();
        assert!(!report.is_passed(), "an empty report does not pass");
        report.passed("a trace", "5b8a");
        assert!(report.is_passed());
        report.expect(false, "a child", "");
        assert!(!report.is_passed());
        assert!(report.to_string().contains("missing"), "{report}");
    }

    #[test]
    fn missing_span_is_awaited_despite_an_error() {
        let mut report = Report::default();
        report.passed("a trace", "5b8a");
        report.wrong("its items", "a string");
        report.unanswered("an answer", "--answer N");
        assert!(!report.can_change(), "no span can change these");
        report.missing("its parent", "");
        assert!(report.can_change());
    }

    #[test]
    fn one_passing_attempt_suffices() {
        let mut bad = Report::default();
        bad.missing("a child", "");
        let mut good = Report::default();
        good.passed("a child", "");
        let passes = |attempts: &[&Report]| {
            Report::best(attempts.iter().copied().cloned(), "a trace", "").is_passed()
        };
        assert!(passes(&[&bad, &good]));
        assert!(!passes(&[&bad]) && !passes(&[]));
    }

    #[test]
    fn console_shows_no_options() {
        let mut report = Report::default();
        report.unanswered("an answer", "--answer trace=ID --answer began=SERVICE");
        let shown = report.for_console();
        assert!(!shown.is_passed);
        let expected = lessons::Finding {
            what: "an answer".to_owned(),
            state: FindingState::Missing,
            seen: "trace=ID began=SERVICE".to_owned(),
        };
        assert_eq!(shown.findings, [expected]);
    }

    #[test]
    fn displays_one_line_per_finding() {
        let mut report = Report::default();
        report.add_source("the traces of shop");
        report.passed("a trace", "5b8a");
        report.missing("a child", "");
        let shown = console::strip_ansi_codes(&report.to_string()).into_owned();
        assert_eq!(
            shown,
            "Read the traces of shop.\n  ok       a trace: 5b8a\n  missing  a child\n"
        );
    }
}
