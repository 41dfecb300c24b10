//! Rendering of a lesson's Markdown for a terminal.

use console::{Style, measure_text_width};
use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};

/// The maximum line width. Longer lines are hard to read.
const MAX_COLUMNS: usize = 100;

/// Renders the text with colours and wraps its paragraphs. Code blocks are neither wrapped nor
/// indented, so that commands can be copied: a here-document ends only at the start of a line.
pub fn for_terminal(markdown: &str, columns: usize) -> String {
    let mut page = Page {
        columns: columns.min(MAX_COLUMNS),
        ..Page::default()
    };
    for event in Parser::new(markdown) {
        page.add(event);
    }
    page.end_block();
    page.shown
}

/// A text that is being rendered.
#[derive(Default)]
struct Page {
    columns: usize,
    shown: String,
    /// The words of the current block, with their colours.
    block: String,
    /// The number of the next item of each open list; none for a list with dashes.
    lists: Vec<Option<u64>>,
    /// The width of the markers of the open list items.
    indents: Vec<usize>,
    /// The marker of a list item whose text has not been shown yet.
    marker: Option<String>,
    /// The addresses of the open links; empty if the text is the address.
    links: Vec<String>,
    is_heading: bool,
    is_code: bool,
    strong: usize,
    emphasis: usize,
    /// True if a blank line comes before the next block.
    has_gap: bool,
}

impl Page {
    fn add(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            // The text of a code block is shown when it ends.
            Event::Text(text) if self.is_code => self.block.push_str(&text),
            Event::Text(text) => self.push(&text, &self.style()),
            Event::Code(code) => self.push(&code, &Style::new().cyan()),
            Event::Html(text) | Event::InlineHtml(text) => self.push(&text, &Style::new()),
            Event::SoftBreak => self.block.push(' '),
            Event::HardBreak => self.block.push('\n'),
            Event::Rule => {
                self.push("───", &Style::new().dim());
                self.end_paragraph();
            }
            // Extensions that are not enabled.
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => self.is_heading = true,
            Tag::CodeBlock(_) => {
                self.end_block();
                self.is_code = true;
            }
            Tag::List(first) => {
                // The text of the item above a nested list.
                self.end_block();
                self.lists.push(first);
            }
            Tag::Item => self.start_item(),
            Tag::Strong => self.strong += 1,
            Tag::Emphasis => self.emphasis += 1,
            Tag::Link {
                link_type,
                dest_url,
                ..
            } => {
                let is_address = matches!(link_type, LinkType::Autolink | LinkType::Email);
                let address = (!is_address).then(|| dest_url.to_string());
                self.links.push(address.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn start_item(&mut self) {
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number += 1;
                marker
            }
            _ => "- ".to_owned(),
        };
        self.indents.push(marker.len());
        self.marker = Some(marker);
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.end_paragraph();
                self.is_heading = false;
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.end_paragraph(),
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::Item => {
                self.end_block();
                self.indents.pop();
                self.marker = None;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.has_gap |= self.lists.is_empty();
            }
            TagEnd::Strong => self.strong = self.strong.saturating_sub(1),
            TagEnd::Emphasis => self.emphasis = self.emphasis.saturating_sub(1),
            TagEnd::Link => {
                let address = self.links.pop().filter(|address| !address.is_empty());
                if let Some(address) = address {
                    self.push(&format!(" ({address})"), &Style::new().dim());
                }
            }
            _ => {}
        }
    }

    fn style(&self) -> Style {
        let style = match self.is_heading {
            true => Style::new().bold().underlined(),
            false => Style::new(),
        };
        match (self.strong, self.emphasis) {
            (0, 0) => style,
            (0, _) => style.italic(),
            _ => style.bold(),
        }
    }

    /// Adds text to the block. Each word has its own escape codes, since a line may be wrapped
    /// between two.
    fn push(&mut self, text: &str, style: &Style) {
        let coloured = |word: &str| match word {
            "" => String::new(),
            word => style.apply_to(word).to_string(),
        };
        let words: Vec<String> = text
            .trim_end_matches('\n')
            .split(' ')
            .map(coloured)
            .collect();
        self.block += &words.join(" ");
    }

    fn end_paragraph(&mut self) {
        self.end_block();
        self.has_gap = true;
    }

    /// Shows the block, if it has any text.
    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.is_empty() {
            return;
        }
        self.start_block();
        let hanging: usize = self.indents.iter().sum();
        let marker = self.marker.take().unwrap_or_default();
        let mut indent = " ".repeat(hanging.saturating_sub(marker.len())) + &marker;
        for line in block.split('\n') {
            self.shown += &wrapped(line, &indent, hanging, self.columns);
            indent = " ".repeat(hanging);
        }
    }

    fn end_code(&mut self) {
        self.is_code = false;
        self.start_block();
        for line in std::mem::take(&mut self.block).lines() {
            self.shown += &format!("{}\n", Style::new().dim().apply_to(line));
        }
        self.has_gap = true;
    }

    fn start_block(&mut self) {
        if std::mem::take(&mut self.has_gap) && !self.shown.is_empty() {
            self.shown.push('\n');
        }
    }
}

/// Wraps a line: the first part follows an indent, the others are indented by a number of columns.
fn wrapped(line: &str, indent: &str, hanging: usize, columns: usize) -> String {
    let mut lines = indent.to_owned();
    let mut used = measure_text_width(indent);
    let mut is_first = true;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let width = measure_text_width(word);
        if is_first {
            is_first = false;
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
    fn indents_nested_lists() {
        let text = "1. one\n   - two three\n   - four\n2. five\n\nEnd";
        let expected = "1. one\n   - two\n     three\n   - four\n2. five\n\nEnd\n";
        assert_eq!(plain(text, 11), expected);
    }

    #[test]
    fn long_words_are_not_broken() {
        assert_eq!(plain("a verylongword b", 6), "a\nverylongword\nb\n");
    }

    #[test]
    fn links_are_followed_by_their_address() {
        let text = "See [the *page*](https://example.com/a), <https://example.com/b>.";
        let expected = "See the page (https://example.com/a), https://example.com/b.\n";
        assert_eq!(plain(text, 100), expected);
    }

    #[test]
    fn marks_in_code_are_literal() {
        assert_eq!(plain("`a ** b` and `c *d* e`", 40), "a ** b and c *d* e\n");
        let block = "```sh\ncat <<'END'\n  - **a**\nEND\n```\n";
        assert_eq!(plain(block, 40), "cat <<'END'\n  - **a**\nEND\n");
    }

    #[test]
    fn blank_lines_in_code_stay() {
        let text = "A\n\n```\nb\n\nc\n```\n\nD\n";
        assert_eq!(plain(text, 40), "A\n\nb\n\nc\n\nD\n");
    }
}
