//! Splits a text into its YAML documents, so that an error in one does not hide those of others.

/// A part of a text with at most one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    pub(super) text: &'a str,
    /// How many lines of the text come before it.
    pub(super) lines_before: usize,
}

/// Splits before each line that begins with `---`, which in YAML is nothing but a document's
/// start wherever it stands. Directives (`%YAML 1.2`) stay with the document that follows.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut documents, mut start, mut lines_before) = (vec![], 0, 0);
    let (mut at, mut has_content) = (0, false);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) && has_content {
            documents.extend(
                text.get(start..at)
                    .map(|text| Document { text, lines_before }),
            );
            (start, lines_before, has_content) = (at, number, false);
        }
        has_content |= is_content(line);
        at += line.len();
    }
    documents.extend(
        text.get(start..)
            .map(|text| Document { text, lines_before }),
    );
    documents
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn is_content(line: &str) -> bool {
    let line = line.trim();
    !(line.is_empty() || line.starts_with(['#', '%']))
}
