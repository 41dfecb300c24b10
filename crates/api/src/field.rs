//! Where in a resource something is wrong.

use std::{borrow::Cow, fmt};

/// The letters of a text that a message shows.
const MAX_SHOWN: usize = 60;

/// The way from a document's root to a field, written `spec.targets[0].service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    Field(String),
    Index(usize),
}

impl FieldPath {
    /// The document itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A field of what this leads to.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// An element of the list that this leads to, from 0.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        self.with(Segment::Index(at))
    }

    /// The way to what `inner` leads to from here.
    pub(crate) fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if at == 0 => f.write_str(&shortened(name, MAX_SHOWN))?,
                Segment::Field(name) => write!(f, ".{}", shortened(name, MAX_SHOWN))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FieldError {
    /// The field.
    pub path: FieldPath,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl FieldError {
    /// Says so of a field.
    pub fn new(path: FieldPath, problem: impl Into<String>) -> Self {
        Self {
            path,
            problem: problem.into(),
        }
    }
}

/// A text as a message shows it, in quotation marks.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text, MAX_SHOWN))
}

/// As much of a text as a message needs.
pub(crate) fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}
