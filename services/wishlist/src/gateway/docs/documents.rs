//! The documents, which are built into the program.

/// A document.
pub(super) struct Document {
    /// The path below `/docs/`, and the name of the file without `.md`.
    pub(super) name: &'static str,
    /// Markdown that begins with `# TITLE`.
    pub(super) text: &'static str,
}

pub(super) const ARCHITECTURE: Document = Document {
    name: "architecture",
    text: include_str!("../../../../../docs/architecture.md"),
};

pub(super) const TAIL_RULES: Document = Document {
    name: "tail-rules",
    text: include_str!("../../../../../docs/tail-rules.md"),
};

impl Document {
    /// The title, from the first line.
    pub(super) fn title(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches('#').trim()
    }
}

/// The target of a link in a document: another document, or another host.
pub(super) fn link(destination: &str) -> Option<String> {
    if destination.starts_with("https://") {
        return Some(destination.to_owned());
    }
    let name = destination.strip_suffix(".md")?;
    let is_known = [ARCHITECTURE.name, TAIL_RULES.name].contains(&name);
    is_known.then(|| format!("/docs/{name}"))
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Parser, Tag};

    use super::*;

    #[test]
    fn every_link_has_a_target() {
        for document in [ARCHITECTURE, TAIL_RULES] {
            assert!(!document.title().is_empty());
            for event in Parser::new(document.text) {
                if let Event::Start(Tag::Link { dest_url, .. }) = event {
                    assert!(link(&dest_url).is_some(), "{}: {dest_url}", document.name);
                }
            }
        }
    }
}
