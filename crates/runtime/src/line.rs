//! Text that people enter: names and titles.

/// Text on one line: trimmed, not empty, and limited in length.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, derive_more::Display)]
pub struct Line(String);

/// The error for text that is not a [`Line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// Nothing, or only white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`Line::MAX_CHARS`].
    #[error("must be at most {max} characters, not {0}", max = Line::MAX_CHARS)]
    TooLong(usize),
    /// Line breaks and other control characters.
    #[error("must be on one line, without control characters")]
    Control,
}

impl Line {
    /// The maximum number of characters.
    pub const MAX_CHARS: usize = 200;

    /// Trims and validates text.
    ///
    /// # Errors
    /// [`InvalidLine`] if the text is not valid.
    pub fn new(text: &str) -> Result<Self, InvalidLine> {
        // Trimmed first, so that text of only spaces is empty, and a final line break is permitted.
        let text = text.trim();
        let chars = text.chars().count();
        if text.is_empty() {
            Err(InvalidLine::Empty)
        } else if chars > Self::MAX_CHARS {
            Err(InvalidLine::TooLong(chars))
        } else if text.contains(char::is_control) {
            Err(InvalidLine::Control)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_are_trimmed() {
        assert_eq!(Line::new(" a bike\n").unwrap().as_str(), "a bike");
    }

    #[test]
    fn characters_are_counted_instead_of_bytes() {
        assert!(Line::new(&"ß".repeat(Line::MAX_CHARS)).is_ok());
        let over = Line::MAX_CHARS + 1;
        assert_eq!(
            Line::new(&"ß".repeat(over)),
            Err(InvalidLine::TooLong(over))
        );
    }

    #[rstest::rstest]
    #[case("", InvalidLine::Empty)]
    #[case(" \t ", InvalidLine::Empty)]
    #[case("a\nb", InvalidLine::Control)]
    #[case("a\0b", InvalidLine::Control)]
    fn invalid_lines_are_refused(#[case] text: &str, #[case] error: InvalidLine) {
        assert_eq!(Line::new(text), Err(error));
    }
}
