//! An error and its causes on one line.

use std::error::Error;

/// Returns an error's text followed by those of its causes, separated by colons. A cause that the
/// text already contains is left out: some libraries include their source's text in their own.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let described = error.to_string();
        if !text.contains(&described) {
            text = format!("{text}: {described}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failure {
        text: &'static str,
        source: io::Error,
    }

    #[rstest::rstest]
    #[case::other("Redis cannot be reached", "Redis cannot be reached: refused")]
    #[case::same("refused", "refused")]
    #[case::included("connect: refused", "connect: refused")]
    fn repeated_causes_appear_once(#[case] text: &'static str, #[case] expected: &str) {
        let source = io::Error::other("refused");
        assert_eq!(with_causes(&Failure { text, source }), expected);
    }
}
