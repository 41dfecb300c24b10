//! Splits a text into its YAML documents, so that a syntax error in one does not hide the others.

/// A part of a text with at most one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// The number of lines before it in the text.
    pub(super) lines_before: usize,
}

/// Splits a text before each line that begins with `---`, and omits empty documents.
///
/// In YAML such a line is always the start of a document, even inside a quoted value. Directives
/// (`%YAML 1.2`) before the first such line stay with the document after them.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = vec![];
    let mut part = Part::default();
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let after_marker = marker(line);
        // Comments and directives before the first marker belong to the document after it.
        if after_marker.is_some() && (part.has_marker || part.has_content) {
            documents.extend(part.document(text, at));
            part = Part {
                start: at,
                lines_before: number,
                ..Part::default()
            };
        }
        part.has_marker |= after_marker.is_some();
        part.has_content |= is_content(after_marker.unwrap_or(line));
        at += line.len();
    }
    documents.extend(part.document(text, at));
    documents
}

/// The part of a text that is being read.
#[derive(Default)]
struct Part {
    start: usize,
    lines_before: usize,
    has_marker: bool,
    has_content: bool,
}

impl Part {
    fn document<'a>(&self, text: &'a str, end: usize) -> Option<Document<'a>> {
        let text = text.get(self.start..end)?;
        self.has_content.then_some(Document {
            text,
            lines_before: self.lines_before,
        })
    }
}

/// The text after `---` in a line that begins a document.
fn marker(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("---")?;
    (rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])).then_some(rest)
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line == "..." || line.starts_with(['#', '%']))
}
