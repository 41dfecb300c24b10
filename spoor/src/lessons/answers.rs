//! A learner's answers: `--answer TEXT`, or `--answer KEY=TEXT` where a lesson asks several
//! questions.

use std::fmt;

use spoor_policy::statistics::Interval;

/// The answers that a lesson asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// No answer: the check only reads traces.
    Nothing,
    /// One answer.
    One(Form),
    /// Answers under these keys.
    Named(&'static [(&'static str, Form)]),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A trace ID.
    TraceId,
    /// A service's name.
    Service,
    /// A service and the name of a span.
    Span,
    /// A whole number.
    Number,
    /// A time in seconds.
    Seconds,
    /// An interval in percent.
    Interval,
}

impl Form {
    /// The placeholder, and an explanation if the placeholder does not show the form.
    fn placeholder(self) -> (&'static str, &'static str) {
        match self {
            Self::TraceId => ("TRACE_ID", ", which has 32 hexadecimal digits"),
            Self::Service => ("SERVICE", ""),
            Self::Span => ("'SERVICE: SPAN'", ", with the colon"),
            Self::Number => ("NUMBER", ", a whole number such as 1200"),
            Self::Seconds => ("SECONDS", ", a number such as 0.6"),
            Self::Interval => ("LOWER..UPPER", ", percentages such as 0.05%..1.2%"),
        }
    }

    fn is_valid(self, text: &str) -> bool {
        match self {
            Self::TraceId => text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit()),
            Self::Service => !text.is_empty(),
            Self::Span => text.contains(':'),
            Self::Number => text.parse::<u64>().is_ok(),
            Self::Seconds => seconds(text).is_some(),
            Self::Interval => interval(text).is_some(),
        }
    }
}

/// Parses `2`, `2.1` or `2.1s`.
pub fn seconds(text: &str) -> Option<f64> {
    let number: f64 = text.trim_end_matches('s').trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Parses `0.8%..1.2%`. The first percent sign can be left out.
pub fn interval(text: &str) -> Option<Interval> {
    let (lower, upper) = text.split_once("..")?;
    let share = |end: &str| -> Option<f64> {
        let percent: f64 = end.trim().trim_end_matches('%').trim().parse().ok()?;
        let share = percent / 100.0;
        (0.0..=1.0).contains(&share).then_some(share)
    };
    let (lower, upper) = (share(lower)?, share(upper)?);
    (lower <= upper).then_some(Interval { lower, upper })
}

impl AnswerFormat {
    /// The reason why an answer is invalid for the lesson, with the correct form; `None` if it is
    /// valid.
    pub fn refusal(self, answer: &str) -> Option<String> {
        match self {
            Self::Nothing => Some("asks for no answer; leave out --answer".to_owned()),
            Self::One(form) => refusal_of(form, answer),
            Self::Named(keys) => {
                let (name, text) = answer.split_once('=').unwrap_or((answer, ""));
                match keys.iter().find(|(key, _)| *key == name.trim()) {
                    Some((_, form)) => refusal_of(*form, text),
                    None => Some(format!("asks for {self}")),
                }
            }
        }
    }
}

fn refusal_of(form: Form, text: &str) -> Option<String> {
    let (placeholder, explanation) = form.placeholder();
    let is_valid = form.is_valid(text.trim());
    (!is_valid).then(|| format!("asks for {placeholder} here{explanation}"))
}

impl fmt::Display for AnswerFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::One(form) => write!(f, "--answer {}", form.placeholder().0),
            Self::Named(keys) => {
                let answers = keys
                    .iter()
                    .map(|(key, form)| format!("--answer {key}={}", form.placeholder().0));
                f.write_str(&answers.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// The answers given.
#[derive(Clone, Debug, Default)]
pub struct Answers(Vec<String>);

impl Answers {
    /// Wraps the answers of the command line.
    pub fn new(answers: Vec<String>) -> Self {
        Self(answers)
    }

    /// The answer to a lesson that asks one question. If there are several, the last counts.
    pub fn one(&self) -> Option<&str> {
        let last = self.0.last()?.trim();
        (!last.is_empty()).then_some(last)
    }

    /// The answer under a key. If there are several, the last counts.
    pub fn named(&self, key: &str) -> Option<&str> {
        // At the first `=`: an answer may contain others.
        let pairs = self.0.iter().filter_map(|answer| answer.split_once('='));
        let mut of_key = pairs.filter(|(name, _)| name.trim() == key);
        let (_, answer) = of_key.next_back()?;
        Some(answer.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(given: &[&str]) -> Answers {
        Answers::new(given.iter().map(|answer| (*answer).to_owned()).collect())
    }

    #[rstest::rstest]
    #[case(
        AnswerFormat::Nothing,
        "42",
        Some("asks for no answer; leave out --answer")
    )]
    #[case(
        AnswerFormat::One(Form::TraceId),
        "016220c2a05539cacbd7c7e677e51b14",
        None
    )]
    #[case(
        AnswerFormat::One(Form::TraceId),
        "42",
        Some("asks for TRACE_ID here, which has 32 hexadecimal digits")
    )]
    #[case(
        AnswerFormat::One(Form::Span),
        "load model",
        Some("asks for 'SERVICE: SPAN' here, with the colon")
    )]
    #[case(AnswerFormat::Named(TWO), "b = 2", None)]
    #[case(
        AnswerFormat::Named(TWO),
        "2",
        Some("asks for --answer a=SERVICE --answer b=NUMBER")
    )]
    #[case(
        AnswerFormat::Named(TWO),
        "c=2",
        Some("asks for --answer a=SERVICE --answer b=NUMBER")
    )]
    #[case(
        AnswerFormat::Named(TWO),
        "b=10,000",
        Some("asks for NUMBER here, a whole number such as 1200")
    )]
    #[case(AnswerFormat::Named(&[("w", Form::Seconds)]), "w=600ms", Some("asks for SECONDS here, a number such as 0.6"))]
    #[case(AnswerFormat::Named(&[("i", Form::Interval)]), "i=1%", Some("asks for LOWER..UPPER here, percentages such as 0.05%..1.2%"))]
    fn refuses_unknown_answers(
        #[case] asked: AnswerFormat,
        #[case] answer: &str,
        #[case] refusal: Option<&str>,
    ) {
        assert_eq!(asked.refusal(answer).as_deref(), refusal);
    }

    const TWO: &[(&str, Form)] = &[("a", Form::Service), ("b", Form::Number)];

    #[test]
    fn last_answer_counts() {
        let given = answers(&["a=1", "b = 2 ", "a=3=4"]);
        assert_eq!(given.named("a"), Some("3=4"));
        assert_eq!(given.named("b"), Some("2"));
        assert_eq!(given.named("c"), None);
        assert_eq!(given.one(), Some("a=3=4"));
        assert_eq!(answers(&[]).one(), None);
        assert_eq!(answers(&["x", " "]).one(), None);
    }

    #[rstest::rstest]
    #[case("2", Some(2.0))]
    #[case("2.5s", Some(2.5))]
    #[case("2 s", Some(2.0))]
    #[case("soon", None)]
    #[case("inf", None)]
    #[case("", None)]
    fn reads_seconds(#[case] text: &str, #[case] number: Option<f64>) {
        assert_eq!(seconds(text), number);
    }

    #[rstest::rstest]
    #[case("0.8%..1.2%", Some((0.008, 0.012)))]
    #[case("0.8..1.2%", Some((0.008, 0.012)))]
    #[case(" 0 % .. 100 % ", Some((0.0, 1.0)))]
    #[case("1.2%..0.8%", None)]
    #[case("1%", None)]
    #[case("NaN%..1%", None)]
    #[case("0%..101%", None)]
    fn reads_intervals(#[case] text: &str, #[case] ends: Option<(f64, f64)>) {
        let read = interval(text);
        assert_eq!(read.is_some(), ends.is_some());
        if let (Some(read), Some((lower, upper))) = (read, ends) {
            assert!((read.lower - lower).abs() < 1e-12 && (read.upper - upper).abs() < 1e-12);
        }
    }
}
