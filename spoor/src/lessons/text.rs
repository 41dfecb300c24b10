//! Rendering of a lesson's Markdown for a terminal.

use console::{Style, measure_text_width};

/// The maximum line width. Longer lines are hard to read.
const MAX_COLUMNS: usize = 100;
/// The largest indent of a list item's continuation lines, in columns.
const MAX_INDENT: usize = 4;

/// Renders the text with colours and wraps its paragraphs. Code blocks are not wrapped, so that
/// commands can be copied.
pub fn for_terminal(markdown: &str, columns: usize) -> String {
    let columns = columns.min(MAX_COLUMNS);
    let mut shown = String::new();
    let mut in_block = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            shown += &format!("{}\n", Style::new().cyan().apply_to(line));
        } else if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim();
            shown += &format!("{}\n", Style::new().bold().underlined().apply_to(heading));
        } else {
            shown += &wrapped(&coloured(line), columns, hanging_indent(line));
        }
    }
    shown
}

/// The indent of a list item's continuation lines.
fn hanging_indent(line: &str) -> usize {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    match text.as_bytes() {
        [b'-' | b'*', b' ', ..] => indent + 2,
        rest if digits > 0 && rest.get(digits..digits + 2) == Some(b". ") => indent + digits + 2,
        _ => indent,
    }
    .min(MAX_INDENT)
}

/// Colours `code` and **strong** words.
fn coloured(line: &str) -> String {
    // Code first, since asterisks in it are literal.
    style_between(line, "`", &Style::new().cyan(), |text| {
        style_between(text, "**", &Style::new().bold(), str::to_owned)
    })
}

/// Styles the text between each pair of marks, and formats the other parts with `rest`.
fn style_between(line: &str, mark: &str, style: &Style, rest: impl Fn(&str) -> String) -> String {
    let part = |(index, part): (usize, &str)| {
        if index % 2 == 0 {
            return rest(part);
        }
        // Each word has its own escape codes, since a line may be wrapped between two.
        let words = part.split(' ').map(|word| style.apply_to(word).to_string());
        words.collect::<Vec<_>>().join(" ")
    };
    line.split(mark).enumerate().map(part).collect()
}

fn wrapped(line: &str, columns: usize, hanging: usize) -> String {
    let mut lines = String::new();
    let mut used = 0;
    let indent = line.len() - line.trim_start().len();
    for word in line.trim_start().split(' ') {
        let width = measure_text_width(word);
        if used == 0 {
            lines += &" ".repeat(indent);
            used = indent;
        } else if used + 1 + width > columns {
            lines += "\n";
            lines += &" ".repeat(hanging);
            used = hanging;
        } else {
            lines += " ";
            used += 1;
        }
        lines += word;
        used += width;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(markdown: &str, columns: usize) -> String {
        console::strip_ansi_codes(&for_terminal(markdown, columns)).into_owned()
    }

    #[test]
    fn wraps_paragraphs_but_not_commands() {
        let text =
            "# 1. A title\n\nSome **words** that `are code`\n\n```sh\ncurl a-long-command\n```\n";
        assert_eq!(
            plain(text, 12),
            "1. A title\n\nSome words\nthat are\ncode\n\ncurl a-long-command\n"
        );
    }

    #[test]
    fn indents_wrapped_list_items() {
        assert_eq!(plain("- one two", 6), "- one\n  two\n");
        assert_eq!(plain("1. one two", 7), "1. one\n   two\n");
        assert_eq!(plain("one two", 4), "one\ntwo\n");
    }

    #[test]
    fn long_words_are_not_broken() {
        assert_eq!(plain("a verylongword b", 6), "a\nverylongword\nb\n");
    }
}
