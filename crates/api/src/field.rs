//! The paths of fields, and errors in them.

use std::fmt;

use spoor_policy::message::shortened;

/// The most characters of a quoted text in a message.
const MAX_SHOWN_CHARS: usize = 60;

/// The path from a document's root to a field, such as `spec.targets[0].service`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    Field(String),
    Index(usize),
}

impl FieldPath {
    /// The path of the document itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The path of a field of this value.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// The path of an item of this list, counted from 0.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        self.with(Segment::Index(at))
    }

    /// The path `inner` appended to this one.
    pub(crate) fn join(&self, inner: &Self) -> Self {
        Self(self.0.iter().chain(&inner.0).cloned().collect())
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// True if the other path is this one, or leads to a field or item inside it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// True if one of the paths contains the other, regardless of indices.
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        let mut pairs = self.fields().zip(other.fields());
        pairs.all(|(one, other)| one == other)
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Field(name) => Some(name.as_str()),
            Segment::Index(_) => None,
        })
    }

    fn with(&self, segment: Segment) -> Self {
        Self(self.0.iter().cloned().chain([segment]).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                // Names come from the document, so they may be of any length.
                Segment::Field(name) if at == 0 => {
                    f.write_str(&shortened(name, MAX_SHOWN_CHARS))?
                }
                Segment::Field(name) => write!(f, ".{}", shortened(name, MAX_SHOWN_CHARS))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// An error in a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FieldError {
    /// The field.
    pub path: FieldPath,
    /// The problem, and how to solve it.
    pub problem: String,
}

impl FieldError {
    /// An error with this problem in a field.
    pub fn new(path: FieldPath, problem: impl Into<String>) -> Self {
        Self {
            path,
            problem: problem.into(),
        }
    }

    /// The same error in a value that contains this one at `path`.
    pub(crate) fn below(self, path: &FieldPath) -> Self {
        Self::new(path.join(&self.path), self.problem)
    }
}

/// A text shortened and quoted for a message.
pub(crate) fn quoted(text: &str) -> String {
    // Escaped, so that a text from a file cannot write control sequences to a terminal.
    format!("{:?}", shortened(text, MAX_SHOWN_CHARS))
}
