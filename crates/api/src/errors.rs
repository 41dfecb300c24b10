//! Collects the errors of a resource, so that all are reported at once.

use std::{collections::HashSet, fmt::Display, hash::Hash};

use crate::{API_VERSION, FieldError, FieldPath, field::quoted, problem::DUPLICATE};

/// The errors found so far.
#[derive(Default, derive_more::Deref)]
pub(crate) struct Errors(Vec<FieldError>);

/// A marker for an error that was added to [`Errors`].
pub(crate) struct Reported;

/// A valid value, unless its error has been added.
pub(crate) type Checked<T> = Result<T, Reported>;

impl Errors {
    pub(crate) fn add(&mut self, path: FieldPath, problem: impl Into<String>) {
        self.0.push(FieldError::new(path, problem));
    }

    pub(crate) fn extend(&mut self, errors: Vec<FieldError>) {
        self.0.extend(errors);
    }

    /// Adds an error. Returns the marker that stands in for the value of a failed check.
    pub(crate) fn report(&mut self, path: FieldPath, problem: impl Into<String>) -> Reported {
        self.add(path, problem);
        Reported
    }

    /// The result of checks of several fields: an error if there are more errors than `before`.
    pub(crate) fn none_since(&self, before: usize) -> Checked<()> {
        (self.len() == before).then_some(()).ok_or(Reported)
    }

    /// Adds the error of a check whose value is not needed.
    pub(crate) fn require<T, E: Display>(&mut self, path: FieldPath, result: Result<T, E>) {
        if let Err(error) = result {
            self.add(path, error.to_string());
        }
    }

    pub(crate) fn check<T, E: Display>(
        &mut self,
        path: FieldPath,
        result: Result<T, E>,
    ) -> Checked<T> {
        result.map_err(|error| self.report(path, error.to_string()))
    }

    /// Checks an object's `apiVersion` and `kind`.
    pub(crate) fn kind(&mut self, api_version: &str, kind: &str, expected: &str) {
        let root = FieldPath::root();
        // `read` checks this as well, but the operator validates objects from the API server.
        for (field, found, expected) in [
            ("apiVersion", api_version, API_VERSION),
            ("kind", kind, expected),
        ] {
            if found != expected {
                let problem = format!("must be \"{expected}\", not {}", quoted(found));
                self.add(root.field(field), problem);
            }
        }
    }

    pub(crate) fn at_most(&mut self, count: usize, max: usize, at: &FieldPath) {
        if count > max {
            let problem = format!("must have at most {max} entries, not {count}");
            self.add(at.clone(), problem);
        }
    }

    pub(crate) fn distinct<T: Eq + Hash + Display>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        path: impl Fn(usize) -> FieldPath,
    ) {
        let mut seen = HashSet::new();
        for (index, item) in items.into_iter().enumerate() {
            let name = item.to_string();
            if !seen.insert(item) {
                let problem = format!("{DUPLICATE}{}; list it once", quoted(&name));
                self.add(path(index), problem);
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<FieldError> {
        self.0
    }
}
