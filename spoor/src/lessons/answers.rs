//! A learner's answers: `--answer TEXT`, or `--answer KEY=TEXT` where a lesson asks several
//! questions.

use std::{collections::BTreeMap, fmt};

use spoor_policy::statistics::Interval;

/// The largest number accepted, such as a number of requests.
const MAX_NUMBER: u64 = 1_000_000_000;

/// The answers that a lesson asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// No answer: the check reads only traces and policies.
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
    /// A whole number from 1 to `MAX_NUMBER`.
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
            Self::Number => ("NUMBER", ", a whole number from 1 to 1000000000"),
            Self::Seconds => ("SECONDS", ", a number such as 0.6"),
            Self::Interval => (
                "LOWER..UPPER",
                ", percentages such as 0.05%..1.2%, the lower one first",
            ),
        }
    }

    fn is_valid(self, text: &str) -> bool {
        match self {
            Self::TraceId => text.len() == 32 && text.bytes().all(|it| it.is_ascii_hexdigit()),
            Self::Service => !text.is_empty(),
            Self::Span => text.split_once(':').is_some_and(|(service, span)| {
                !service.trim().is_empty() && !span.trim().is_empty()
            }),
            Self::Number => number(text).is_some(),
            Self::Seconds => seconds(text).is_some(),
            Self::Interval => interval(text).is_some(),
        }
    }
}

/// Parses a whole number from 1 to `MAX_NUMBER`.
pub fn number(text: &str) -> Option<u64> {
    let number = text.parse().ok()?;
    (1..=MAX_NUMBER).contains(&number).then_some(number)
}

/// Parses `2`, `2.1` or `2.1s`.
pub fn seconds(text: &str) -> Option<f64> {
    let number: f64 = text.trim_end_matches('s').trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// Parses `0.8%..1.2%`. The percent signs can be left out.
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
                let (name, text) = pair(answer);
                match keys.iter().find(|(key, _)| *key == name) {
                    Some((_, form)) => refusal_of(*form, text),
                    None => Some(format!("asks for {}", self.options(|_| false))),
                }
            }
        }
    }

    /// The questions: the key of each, which is empty if there is only one, with the placeholder and
    /// the explanation of its form.
    pub fn questions(self) -> Vec<(&'static str, &'static str, &'static str)> {
        let question = |key, form: Form| {
            let (placeholder, explanation) = form.placeholder();
            // Quotation marks are for shells, and the explanation continues a sentence.
            let placeholder = placeholder.trim_matches('\'');
            (key, placeholder, explanation.trim_start_matches(", "))
        };
        match self {
            Self::Nothing => vec![],
            Self::One(form) => vec![question("", form)],
            Self::Named(keys) => keys
                .iter()
                .map(|(key, form)| question(*key, *form))
                .collect(),
        }
    }

    /// The reason why answers contradict each other: two different ones to the same question.
    pub fn contradiction(self, answers: &[String]) -> Option<String> {
        let mut by_key = BTreeMap::new();
        answers.iter().find_map(|answer| {
            let (key, text) = match self {
                Self::Named(_) => pair(answer),
                Self::Nothing | Self::One(_) => ("", answer.trim()),
            };
            let earlier = *by_key.entry(key).or_insert(text);
            let named = if key.is_empty() { "" } else { " " };
            (earlier != text).then(|| {
                format!("answer{named}{key} given twice: {earlier}, {text}; give the one you mean")
            })
        })
    }

    /// The options for the questions whose keys have no answer.
    fn options(self, is_answered: impl Fn(&str) -> bool) -> String {
        let option = |key: &str, form: Form| format!("--answer {key}{}", form.placeholder().0);
        match self {
            Self::Nothing => String::new(),
            Self::One(form) => option("", form),
            Self::Named(keys) => {
                let open = keys.iter().filter(|(key, _)| !is_answered(key));
                let options = open.map(|(key, form)| option(&format!("{key}="), *form));
                options.collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// The key and the text of an answer.
fn pair(answer: &str) -> (&str, &str) {
    // At the first `=`: an answer may contain others.
    let (key, text) = answer.split_once('=').unwrap_or((answer, ""));
    (key.trim(), text.trim())
}

fn refusal_of(form: Form, text: &str) -> Option<String> {
    let (placeholder, explanation) = form.placeholder();
    let is_valid = form.is_valid(text.trim());
    (!is_valid).then(|| format!("asks for {placeholder} here{explanation}"))
}

/// The valid answers given. Repeated answers to a question are equal.
#[derive(Clone, Debug)]
pub struct Answers {
    format: AnswerFormat,
    given: Vec<String>,
}

impl Answers {
    /// Validates the command line's answers to a lesson. The message about an invalid answer names
    /// the lesson.
    ///
    /// # Errors
    /// Messages about invalid and contradictory answers. Otherwise the check would ignore them, and
    /// they would seem to be correct.
    pub fn new(
        lesson: impl fmt::Display,
        format: AnswerFormat,
        given: Vec<String>,
    ) -> Result<Self, Vec<String>> {
        let refusal = |answer: &String| {
            let refusal = format.refusal(answer)?;
            Some(format!("--answer {answer:?}: {lesson} {refusal}"))
        };
        let refusals = given.iter().filter_map(refusal);
        let refusals: Vec<String> = refusals.chain(format.contradiction(&given)).collect();
        if refusals.is_empty() {
            Ok(Self { format, given })
        } else {
            Err(refusals)
        }
    }

    /// The answer to a lesson that asks one question.
    pub fn one(&self) -> Option<&str> {
        self.given.first().map(|answer| answer.trim())
    }

    /// The answer under a key.
    pub fn named(&self, key: &str) -> Option<&str> {
        let mut pairs = self.given.iter().map(|answer| pair(answer));
        let (_, answer) = pairs.find(|(name, _)| *name == key)?;
        Some(answer)
    }

    /// The options that are still missing.
    pub fn missing_options(&self) -> String {
        self.format.options(|key| self.named(key).is_some())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn answers(format: AnswerFormat, given: &[&str]) -> Result<Answers, Vec<String>> {
        let given = given.iter().map(|answer| (*answer).to_owned());
        Answers::new("lesson 0", format, given.collect())
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
    #[case(
        AnswerFormat::One(Form::Span),
        ":",
        Some("asks for 'SERVICE: SPAN' here, with the colon")
    )]
    #[case(
        AnswerFormat::One(Form::Span),
        "service-b: ",
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
        Some("asks for NUMBER here, a whole number from 1 to 1000000000")
    )]
    #[case(
        AnswerFormat::Named(TWO),
        "b=0",
        Some("asks for NUMBER here, a whole number from 1 to 1000000000")
    )]
    #[case(AnswerFormat::Named(&[("w", Form::Seconds)]), "w=600ms", Some("asks for SECONDS here, a number such as 0.6"))]
    #[case(AnswerFormat::Named(&[("i", Form::Interval)]), "i=1%", Some("asks for LOWER..UPPER here, percentages such as 0.05%..1.2%, the lower one first"))]
    fn refuses_unknown_and_malformed_answers(
        #[case] asked: AnswerFormat,
        #[case] answer: &str,
        #[case] refusal: Option<&str>,
    ) {
        assert_eq!(asked.refusal(answer).as_deref(), refusal);
    }

    const TWO: &[(&str, Form)] = &[("a", Form::Service), ("b", Form::Number)];

    #[test]
    fn finds_answers_by_key() {
        let given = answers(AnswerFormat::Named(TWO), &["b = 2 ", "a=3=4", "b=2"]).unwrap();
        assert_eq!(given.named("a"), Some("3=4"));
        assert_eq!(given.named("b"), Some("2"));
        assert_eq!(given.named("c"), None);
        let one = |given| answers(AnswerFormat::One(Form::Service), given).unwrap();
        assert_eq!(one(&[" x "]).one(), Some("x"));
        assert_eq!(one(&[]).one(), None);
    }

    #[test]
    fn refuses_two_answers_to_one_question() {
        let refusals = answers(AnswerFormat::Named(TWO), &["a=x", "b=1", "a=y"]).unwrap_err();
        assert_eq!(
            refusals,
            ["answer a given twice: x, y; give the one you mean"]
        );
        let refusals = answers(AnswerFormat::One(Form::Service), &["x", "y"]).unwrap_err();
        assert_eq!(
            refusals,
            ["answer given twice: x, y; give the one you mean"]
        );
        let refusals = answers(AnswerFormat::Nothing, &["x"]).unwrap_err();
        assert!(refusals[0].starts_with("--answer \"x\": lesson 0 asks for no"));
    }

    #[test]
    fn questions_have_no_shell_syntax() {
        let question = ("", "SERVICE: SPAN", "with the colon");
        assert_eq!(AnswerFormat::One(Form::Span).questions(), [question]);
        let keys: Vec<_> = AnswerFormat::Named(TWO).questions();
        assert_eq!(keys, [("a", "SERVICE", ""), ("b", "NUMBER", NUMBER)]);
        assert!(AnswerFormat::Nothing.questions().is_empty());
    }

    const NUMBER: &str = "a whole number from 1 to 1000000000";

    #[test]
    fn names_only_the_missing_keys() {
        let asked = |given| {
            answers(AnswerFormat::Named(TWO), given)
                .unwrap()
                .missing_options()
        };
        assert_eq!(asked(&[]), "--answer a=SERVICE --answer b=NUMBER");
        assert_eq!(asked(&["a=x"]), "--answer b=NUMBER");
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
    #[case("0.8..1.2", Some((0.008, 0.012)))]
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
