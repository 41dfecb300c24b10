//! What a learner answers: `--answer TEXT`, or `--answer KEY=TEXT` where a lesson asks for
//! several things.

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
