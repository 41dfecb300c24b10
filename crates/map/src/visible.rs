//! Display of names from traces, which may contain any characters.

use spoor_policy::message::is_invisible;

/// Escapes control characters, line and paragraph separators, and characters that change the
/// direction of the text.
///
/// Source: Unicode, the categories `Cc`, `Zl` and `Zp`, and the property `Bidi_Control`.
pub(crate) fn visible(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        if is_invisible(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("service-a 日本", "service-a 日本")]
    #[case("a\u{202e}b", "a\\u{202e}b")]
    #[case("a\u{1b}[31m\0\n", "a\\u{1b}[31m\\u{0}\\u{a}")]
    fn invisible_characters_are_escaped(#[case] name: &str, #[case] shown: &str) {
        assert_eq!(visible(name), shown);
    }
}
