//! Policies as they come in: read from files, each with the place where it stands.

use jiff::Timestamp;
use spoor_api::{
    FieldError, FieldPath,
    read::{self, Manifest},
};
use spoor_policy::PolicyKey;

use crate::lab::admin::Document;

/// A policy that was sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) key: PolicyKey,
    pub(super) manifest: Manifest,
}

impl Sent {
    /// Where it stands.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.manifest.source, self.manifest.line())
    }

    /// Says so of its name, with file and line.
    pub(super) fn wrong_name(&self, why: &str) -> String {
        let path = FieldPath::root().field("metadata").field("name");
        self.manifest.error(FieldError::new(path, why)).to_string()
    }
}

/// Reads all policies of all documents.
///
/// # Errors
/// Everything that is wrong with any of them, as `FILE:LINE: field: …`.
pub(super) fn read(documents: &[Document]) -> Result<Vec<Sent>, Vec<String>> {
    let (mut sent, mut errors) = (vec![], vec![]);
    for Document { source, text } in documents {
        match read::policies(text, source) {
            Ok(manifests) => {
                for manifest in manifests {
                    // It has been validated once; this is for its key.
                    match manifest.policy.validate(Timestamp::UNIX_EPOCH) {
                        Ok(policy) => sent.push(Sent {
                            key: policy.key().clone(),
                            manifest,
                        }),
                        Err(faults) => errors.extend(
                            faults
                                .into_iter()
                                .map(|fault| manifest.error(fault).to_string()),
                        ),
                    }
                }
            }
            Err(faults) => errors.extend(faults.iter().map(ToString::to_string)),
        }
    }
    if errors.is_empty() {
        Ok(sent)
    } else {
        Err(errors)
    }
}
