//! Submitted policies: parsed and validated, with their files and lines.

use std::fmt::Display;

use jiff::Timestamp;
use spoor_api::{
    FieldError, FieldPath,
    changes::Document,
    read::{self, ManifestError, PolicyManifest},
};
use spoor_policy::PolicyKey;

use super::limits::check_sizes;

/// The most errors of a change that are reported. A request may have tens of thousands, each with
/// the name of its document.
pub(crate) const MAX_ERRORS: usize = 1_000;

/// A submitted policy.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) key: PolicyKey,
    pub(super) manifest: PolicyManifest,
}

impl Submitted {
    /// The file and line.
    pub(super) fn location(&self) -> String {
        format!("{}:{}", self.manifest.source, self.manifest.line)
    }

    /// An error about the policy's name, with file and line.
    pub(super) fn name_error(&self, message: &str) -> ManifestError {
        let path = FieldPath::root().field("metadata").field("name");
        self.manifest.error(FieldError::new(path, message))
    }
}

/// The errors of a change: the text of the first [`MAX_ERRORS`], and the number of the others.
#[derive(Debug, Default)]
pub(super) struct ReportedErrors {
    first: Vec<String>,
    more: usize,
}

impl ReportedErrors {
    pub(super) fn extend(&mut self, errors: impl IntoIterator<Item: Display>) {
        for error in errors {
            if self.first.len() < MAX_ERRORS {
                self.first.push(error.to_string());
            } else {
                self.more += 1;
            }
        }
    }

    /// Returns the errors, if there are any.
    pub(super) fn ok_if_empty(mut self) -> Result<(), Vec<String>> {
        if self.more > 0 {
            self.first.push(format!("and {} more", self.more));
        }
        if self.first.is_empty() {
            Ok(())
        } else {
            Err(self.first)
        }
    }
}

/// Reads all policies of all documents.
///
/// # Errors
/// The errors in all documents, as `FILE:LINE: field: …`, or the limit on all policies together
/// that is exceeded.
pub(super) fn read(documents: &[Document]) -> Result<Vec<Submitted>, Vec<String>> {
    let (mut sent, mut errors) = (vec![], ReportedErrors::default());
    let (mut bytes, mut room) = (0, read::MAX_VALUES);
    // All are read even after an error, so that all errors are reported together.
    for Document { source, text } in documents {
        match read::policies_within(text, source, &mut room) {
            Ok(manifests) => {
                for manifest in manifests {
                    bytes += manifest.bytes;
                    // Reading has validated the policy already; this is for its key.
                    match manifest.policy.validate(Timestamp::UNIX_EPOCH) {
                        Ok(policy) => sent.push(Submitted {
                            key: policy.key.clone(),
                            manifest,
                        }),
                        Err(invalid) => {
                            errors.extend(invalid.into_iter().map(|it| manifest.error(it)));
                        }
                    }
                }
            }
            Err(invalid) => errors.extend(invalid),
        }
        // A set with these policies would be too large. Checked after each document, so that documents
        // that take far more memory than their text are not all held at once.
        check_sizes(sent.len(), 0, bytes)?;
    }
    errors.ok_if_empty().map(|()| sent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn errors_are_reported_up_to_a_limit() {
        let document = Document {
            source: "a.yaml".to_owned(),
            text: "kind: Nope".to_owned(),
        };
        let errors = read(&vec![document; MAX_ERRORS]).unwrap_err();
        assert_eq!(errors.len(), MAX_ERRORS + 1);
        // Two for each document: `apiVersion` is missing, and `kind` is unknown.
        let last = format!("and {MAX_ERRORS} more");
        assert_eq!(errors.last(), Some(&last));
    }
}
