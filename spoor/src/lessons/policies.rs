//! The policies of a lab, or of a cluster as `kubectl get samplingpolicy -o json` prints them.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use spoor_api::{SamplingPolicySpec, SamplingPolicyStatus};

use crate::cli::LabClient;

/// The source of policies.
pub enum Policies {
    /// The lab, which is queried each time.
    Lab(LabClient),
    /// The content of a file.
    Read(Vec<CheckedPolicy>),
}

/// The parts of a policy that checks read.
#[derive(Clone, Debug, Deserialize)]
pub struct CheckedPolicy {
    /// The metadata.
    pub metadata: Named,
    /// The desired state.
    pub spec: SamplingPolicySpec,
    /// The observed state.
    pub status: Option<SamplingPolicyStatus>,
}

/// The part of the metadata that checks read.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    /// `metadata.name`.
    pub name: String,
}

/// The error of reading policies from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadPoliciesError {
    /// The file cannot be read.
    #[error("--policies: cannot read {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "--policies: {path} is not the output of `kubectl get samplingpolicy -o json`: {source}",
        path = .path.display()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// The syntax error.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
// kubectl prints a list for a kind, and the object itself for a name.
enum OneOrMany {
    Many { items: Vec<CheckedPolicy> },
    One(Box<CheckedPolicy>),
}

impl Policies {
    /// Reads policies from a file, or from standard input if the path is `-`.
    pub fn read(path: &Path) -> Result<Self, ReadPoliciesError> {
        let text = if path == Path::new("-") {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(path)
        };
        let path = path.to_owned();
        match text {
            Ok(text) => parse(&text).map_err(|source| ReadPoliciesError::Parse { path, source }),
            Err(source) => Err(ReadPoliciesError::Read { path, source }),
        }
    }

    /// The policies of the default namespace.
    pub async fn all(&self) -> anyhow::Result<Vec<CheckedPolicy>> {
        let of_lab = match self {
            Self::Read(policies) => return Ok(policies.clone()),
            // The lab's own services are in this namespace, and so are a lesson's policies.
            Self::Lab(client) => client.policies("default").await?,
        };
        let policy = |policy: spoor_api::SamplingPolicy| CheckedPolicy {
            metadata: Named {
                name: policy.metadata.name,
            },
            spec: policy.spec,
            status: policy.status,
        };
        Ok(of_lab.into_iter().map(policy).collect())
    }

    /// The policy of this name.
    pub async fn named(&self, name: &str) -> anyhow::Result<Option<CheckedPolicy>> {
        let mut all = self.all().await?.into_iter();
        Ok(all.find(|policy| policy.metadata.name == name))
    }
}

fn parse(text: &str) -> serde_json::Result<Policies> {
    Ok(Policies::Read(match serde_json::from_str(text)? {
        OneOrMany::Many { items } => items,
        OneOrMany::One(policy) => vec![*policy],
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const POLICY: &str = r#"{"apiVersion": "spoor.dev/v1alpha1", "kind": "SamplingPolicy",
        "metadata": {"name": "service-a", "namespace": "default", "managedFields": []},
        "spec": {"head": {"probability": "1%"}}}"#;

    fn names(text: &str) -> Vec<String> {
        let Policies::Read(policies) = parse(text).unwrap() else {
            return vec![];
        };
        let names = policies.into_iter().map(|policy| policy.metadata.name);
        names.collect()
    }

    #[test]
    fn reads_lists_and_single_policies() {
        assert_eq!(names(POLICY), ["service-a"]);
        let list = format!(r#"{{"kind": "List", "items": [{POLICY}, {POLICY}]}}"#);
        assert_eq!(names(&list), ["service-a", "service-a"]);
        assert!(names(r#"{"items": []}"#).is_empty());
    }

    #[test]
    fn rejects_other_documents() {
        for wrong in ["", "[]", "{}", r#"{"items": [{}]}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
