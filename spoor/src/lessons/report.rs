//! What a check found.

use std::fmt;

use console::Style;
use serde::Serialize;

/// What it looked at, and what became of each thing that the lesson asks for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    looked: Vec<String>,
    findings: Vec<Finding>,
}

/// What became of one thing.
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
    Wrong,
}

impl Report {
    /// Nothing looked at yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of several attempts the first that passed, else the first.
    pub fn best(attempts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut first = None;
        for attempt in attempts {
            if attempt.is_passed() {
                return Some(attempt);
            }
            first.get_or_insert(attempt);
        }
        first
    }

    /// Says what it looks at, such as "the traces of service-a".
    pub fn looked_at(&mut self, what: impl Into<String>) {
        self.looked.push(what.into());
    }

    /// It is as the lesson asks.
    pub fn passed(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Passed, seen);
    }

    /// It is not there. It may still come: spans take a second or two.
    pub fn missing(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Missing, seen);
    }

    /// It is otherwise than asked for, and no waiting changes that.
    pub fn wrong(&mut self, what: &str, seen: impl Into<String>) {
        self.push(what, State::Wrong, seen);
    }

    /// [`Report::passed`] if it is so, else [`Report::missing`].
    pub fn expect(&mut self, is_so: bool, what: &str, seen: impl Into<String>) {
        if is_so {
            self.passed(what, seen);
        } else {
            self.missing(what, seen);
        }
    }

    /// Whether all is as asked for.
    pub fn is_passed(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|it| it.state == State::Passed)
    }

    /// Whether it can pass if one waits for what is on its way.
    pub fn may_pass_yet(&self) -> bool {
        self.findings.iter().all(|it| it.state != State::Wrong)
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
        for looked in &self.looked {
            writeln!(f, "Looked at {looked}.")?;
        }
        for Finding { what, state, seen } in &self.findings {
            let (mark, style) = match state {
                State::Passed => ("ok     ", Style::new().green()),
                State::Missing => ("missing", Style::new().yellow()),
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
    fn passes_when_all_is_there() {
        let mut report = Report::new();
        assert!(!report.is_passed(), "nothing was looked for");
        report.passed("a trace", "5b8a");
        assert!(report.is_passed());
        report.expect(false, "a child", "");
        assert!(!report.is_passed() && report.may_pass_yet());
        report.wrong("its parent", "is not there");
        assert!(!report.may_pass_yet());
    }

    #[test]
    fn one_good_attempt_is_enough() {
        let mut bad = Report::new();
        bad.missing("a child", "");
        let mut good = Report::new();
        good.passed("a child", "");
        let best = |attempts: &[&Report]| Report::best(attempts.iter().copied().cloned());
        assert!(best(&[&bad, &good]).is_some_and(|it| it.is_passed()));
        assert!(best(&[&bad]).is_some_and(|it| !it.is_passed()));
        assert!(best(&[]).is_none());
    }

    #[test]
    fn is_shown_line_by_line() {
        let mut report = Report::new();
        report.looked_at("the traces of shop");
        report.passed("a trace", "5b8a");
        report.missing("a child", "");
        let shown = console::strip_ansi_codes(&report.to_string()).into_owned();
        assert_eq!(
            shown,
            "Looked at the traces of shop.\n  ok       a trace: 5b8a\n  missing  a child\n"
        );
    }
}
