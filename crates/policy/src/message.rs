//! Parts of messages to people: bounded in length, and free of invisible characters.

use std::{borrow::Cow, fmt::Display};

/// The first `max` items of a list, and the number of the others: `a, b and 3 more`.
#[must_use]
pub fn listed(items: &[impl Display], max: usize) -> String {
    let named: Vec<String> = items.iter().take(max).map(ToString::to_string).collect();
    let named = named.join(", ");
    match items.len().saturating_sub(max) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The beginning of a string, with `…` if it is longer than `max` characters.
#[must_use]
pub fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// True for the characters that move or reorder text. All are below U+10000.
///
/// Source: Unicode, `Cc`, `Bidi_Control`, and the separators of lines and paragraphs.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
