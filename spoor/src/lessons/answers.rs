//! A learner's answers: `--answer TEXT`, or `--answer KEY=TEXT` where a lesson asks several
//! questions.

use std::fmt;

/// The answers that a lesson asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFormat {
    /// No answer: the check reads traces only.
    Nothing,
    /// One text, with its placeholder.
    One(&'static str),
    /// Texts under these keys, with their placeholders.
    Named(&'static [(&'static str, &'static str)]),
}

impl AnswerFormat {
    /// The reason why an answer is not one that the lesson asks for, with the correct form. `None`
    /// if it is.
    pub fn refusal(self, answer: &str) -> Option<String> {
        match self {
            Self::Nothing => Some("asks for no answer; leave out --answer".to_owned()),
            Self::Named(keys) if !is_named(answer, keys) => Some(format!("asks for {self}")),
            Self::One(_) | Self::Named(_) => None,
        }
    }
}

fn is_named(answer: &str, keys: &[(&str, &str)]) -> bool {
    answer
        .split_once('=')
        .is_some_and(|(name, _)| keys.iter().any(|(key, _)| *key == name.trim()))
}

impl fmt::Display for AnswerFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::One(what) => write!(f, "--answer {what}"),
            Self::Named(keys) => {
                let answers = keys
                    .iter()
                    .map(|(key, what)| format!("--answer {key}={what}"));
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
    #[case(AnswerFormat::One("TRACE_ID"), "42", None)]
    #[case(AnswerFormat::Named(&[("a", "ID"), ("b", "N")]), "b = 2", None)]
    #[case(AnswerFormat::Named(&[("a", "ID"), ("b", "N")]), "2", Some("asks for --answer a=ID --answer b=N"))]
    #[case(AnswerFormat::Named(&[("a", "ID")]), "c=2", Some("asks for --answer a=ID"))]
    fn refuses_unknown_answers(
        #[case] asked: AnswerFormat,
        #[case] answer: &str,
        #[case] refusal: Option<&str>,
    ) {
        assert_eq!(asked.refusal(answer).as_deref(), refusal);
    }

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
}
