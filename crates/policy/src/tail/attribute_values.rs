//! The values of an attribute that a rule looks for.

use std::collections::BTreeSet;

/// The values that a rule looks for, as text; those that are numbers also match numbers. A set, so
/// that a lookup takes nanoseconds: one trace may have thousands of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeValues {
    texts: BTreeSet<String>,
    // Parsed once: a text of hundreds of digits takes microseconds.
    ints: BTreeSet<i64>,
    doubles: BTreeSet<u64>,
}

impl AttributeValues {
    /// The values in alphabetical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// Returns whether there are no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Returns whether a text is one of the values.
    #[must_use]
    pub fn contains_text(&self, text: &str) -> bool {
        self.texts.contains(text)
    }

    /// Returns whether a value is this number.
    #[must_use]
    pub fn contains_int(&self, number: i64) -> bool {
        self.ints.contains(&number)
    }

    /// Returns whether a value is this number, compared by its bits.
    #[must_use]
    pub fn contains_double(&self, number: f64) -> bool {
        self.doubles.contains(&number.to_bits())
    }

    /// Returns whether a value is this truth value.
    #[must_use]
    pub fn contains_bool(&self, flag: bool) -> bool {
        self.contains_text(if flag { "true" } else { "false" })
    }
}

impl<T: Into<String>> FromIterator<T> for AttributeValues {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let texts: BTreeSet<String> = values.into_iter().map(Into::into).collect();
        let doubles = texts.iter().filter_map(|it| it.parse().ok());
        Self {
            ints: texts.iter().filter_map(|it| it.parse().ok()).collect(),
            doubles: doubles.map(f64::to_bits).collect(),
            texts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_match_texts_that_are_equal() {
        let values: AttributeValues = ["7", "2.50", "true", "gold"].into_iter().collect();
        assert!(values.contains_text("2.50") && !values.contains_text("2.5"));
        assert!(values.contains_int(7) && !values.contains_int(2));
        assert!(values.contains_double(2.5) && values.contains_double(7.0));
        assert!(!values.contains_double(0.0));
        assert!(values.contains_bool(true) && !values.contains_bool(false));
    }
}
