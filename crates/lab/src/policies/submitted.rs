//! Submitted policies: parsed and validated, with their files and lines.

use jiff::Timestamp;
use spoor_api::{
    FieldError, FieldPath,
    read::{self, PolicyManifest},
};
use spoor_policy::PolicyKey;

use crate::wire::Document;

/// A submitted policy.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    pub(super) key: PolicyKey,
    pub(super) manifest: PolicyManifest,
}

impl Submitted {
    /// The file and line.
    pub(super) fn location(&self) -> String {
        format!("{}:{}", self.manifest.source, self.manifest.line())
    }

    /// An error about the policy's name, with file and line.
    pub(super) fn name_error(&self, why: &str) -> String {
        let path = FieldPath::root().field("metadata").field("name");
        self.manifest.error(FieldError::new(path, why)).to_string()
    }
}

/// Reads all policies of all documents.
///
/// # Errors
/// All errors in all documents, as `FILE:LINE: field: …`.
pub(super) fn read(documents: &[Document]) -> Result<Vec<Submitted>, Vec<String>> {
    let (mut sent, mut errors) = (vec![], vec![]);
    // All are read even after an error, so that all errors are reported together.
    for Document { source, text } in documents {
        match read::policies(text, source) {
            Ok(manifests) => {
                for manifest in manifests {
                    // Reading has validated the policy already; this is for its key.
                    match manifest.policy.validate(Timestamp::UNIX_EPOCH) {
                        Ok(policy) => sent.push(Submitted {
                            key: policy.key.clone(),
                            manifest,
                        }),
                        Err(invalid) => {
                            let located = |error| manifest.error(error).to_string();
                            errors.extend(invalid.into_iter().map(located));
                        }
                    }
                }
            }
            Err(invalid) => errors.extend(invalid.iter().map(ToString::to_string)),
        }
    }
    ok_if_empty(errors).map(|()| sent)
}

/// Returns the errors, if there are any.
pub(super) fn ok_if_empty(errors: Vec<String>) -> Result<(), Vec<String>> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}
