//! The name of a wish.

use std::fmt;

/// The name of a wish: trimmed, not empty, on one line, and limited in length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WishName(String);

/// The error for an invalid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWishName {
    /// Nothing, or only spaces.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`WishName::MAX_CHARS`].
    #[error("must be at most {max} characters, not {0}", max = WishName::MAX_CHARS)]
    TooLong(usize),
    /// Line breaks and other control characters.
    #[error("must be on one line, without control characters")]
    Control,
}

impl WishName {
    /// The maximum number of characters.
    pub const MAX_CHARS: usize = 200;

    /// Trims and validates a name.
    ///
    /// # Errors
    /// [`InvalidWishName`] if the name is not valid.
    pub fn new(text: &str) -> Result<Self, InvalidWishName> {
        // Trimmed first, so that a name of spaces is empty, and a final line break is permitted.
        let text = text.trim();
        let chars = text.chars().count();
        if text.is_empty() {
            Err(InvalidWishName::Empty)
        } else if chars > Self::MAX_CHARS {
            Err(InvalidWishName::TooLong(chars))
        } else if text.contains(char::is_control) {
            Err(InvalidWishName::Control)
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

impl fmt::Display for WishName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_trimmed() {
        assert_eq!(WishName::new(" a bike\n").unwrap().as_str(), "a bike");
    }

    #[test]
    fn characters_are_counted_instead_of_bytes() {
        assert!(WishName::new(&"ß".repeat(WishName::MAX_CHARS)).is_ok());
        let over = WishName::MAX_CHARS + 1;
        assert_eq!(
            WishName::new(&"ß".repeat(over)),
            Err(InvalidWishName::TooLong(over))
        );
    }

    #[rstest::rstest]
    #[case("", InvalidWishName::Empty)]
    #[case(" \t ", InvalidWishName::Empty)]
    #[case("a\nb", InvalidWishName::Control)]
    #[case("a\0b", InvalidWishName::Control)]
    fn invalid_names_are_refused(#[case] text: &str, #[case] error: InvalidWishName) {
        assert_eq!(WishName::new(text), Err(error));
    }
}
