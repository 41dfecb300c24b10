//! What a learner answers: `--answer TEXT`, or `--answer KEY=TEXT` where a lesson asks for
//! several things.

use std::fmt;

/// The answer that a lesson asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the traces say it all.
    Nothing,
    /// One text, for which this stands.
    One(&'static str),
    /// Texts under these keys.
    Named(&'static [(&'static str, &'static str)]),
}

impl Asked {
    /// The reason for which an answer is none that the lesson asks for, and what would be one.
    pub fn refusal(self, answer: &str) -> Option<String> {
        match self {
            Self::Nothing => Some("asks for no answer: leave out --answer".to_owned()),
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

impl fmt::Display for Asked {
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

/// All answers, as they were given.
#[derive(Clone, Debug, Default)]
pub struct Answers(Vec<String>);

impl Answers {
    /// These.
    pub fn new(answers: Vec<String>) -> Self {
        Self(answers)
    }

    /// The only answer of a lesson that asks for one thing.
    pub fn one(&self) -> Option<&str> {
        let last = self.0.last()?.trim();
        (!last.is_empty()).then_some(last)
    }

    /// The answer under a key; of two the later counts.
    pub fn named(&self, key: &str) -> Option<&str> {
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
    #[case(Asked::Nothing, "42", Some("asks for no answer: leave out --answer"))]
    #[case(Asked::One("TRACE_ID"), "42", None)]
    #[case(Asked::Named(&[("a", "ID"), ("b", "N")]), "b = 2", None)]
    #[case(Asked::Named(&[("a", "ID"), ("b", "N")]), "2", Some("asks for --answer a=ID --answer b=N"))]
    #[case(Asked::Named(&[("a", "ID")]), "c=2", Some("asks for --answer a=ID"))]
    fn refuses_answers_nobody_asked_for(
        #[case] asked: Asked,
        #[case] answer: &str,
        #[case] refusal: Option<&str>,
    ) {
        assert_eq!(asked.refusal(answer).as_deref(), refusal);
    }

    #[test]
    fn the_last_word_counts() {
        let given = answers(&["a=1", "b = 2 ", "a=3=4"]);
        assert_eq!(given.named("a"), Some("3=4"));
        assert_eq!(given.named("b"), Some("2"));
        assert_eq!(given.named("c"), None);
        assert_eq!(given.one(), Some("a=3=4"));
        assert_eq!(answers(&[]).one(), None);
        assert_eq!(answers(&["x", " "]).one(), None);
    }
}
