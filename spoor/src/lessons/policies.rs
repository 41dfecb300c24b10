//! The policies of a lab, or those that `kubectl get samplingpolicy -o json` printed.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use spoor_api::{SamplingPolicySpec, SamplingPolicyStatus};

use crate::cli::Client;

/// Where they come from.
pub enum Policies {
    /// The lab, asked anew each time.
    Lab(Client),
    /// A file.
    Read(Vec<Policy>),
}

/// What checks read of a policy.
#[derive(Clone, Debug, Deserialize)]
pub struct Policy {
    /// Its name.
    pub metadata: Named,
    /// What is asked for.
    pub spec: SamplingPolicySpec,
    /// What became of it.
    pub status: Option<SamplingPolicyStatus>,
}

/// The part of the metadata that is read: a cluster's has much more.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    /// `metadata.name`.
    pub name: String,
}

/// Why a file's can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadPoliciesError {
    /// It can't be read.
    #[error("--policies: reading {path}: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "--policies: {path}: {source}; it must be what `kubectl get samplingpolicy -o json` prints",
        path = .path.display()
    )]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many { items: Vec<Policy> },
    One(Box<Policy>),
}

impl Policies {
    /// A file's, or standard input's if it is `-`.
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

    /// All of the default namespace, as they are now.
    pub async fn all(&self) -> anyhow::Result<Vec<Policy>> {
        let of_lab = match self {
            Self::Read(policies) => return Ok(policies.clone()),
            Self::Lab(client) => client.policies("default").await?,
        };
        let policy = |policy: spoor_api::SamplingPolicy| Policy {
            metadata: Named {
                name: policy.metadata.name,
            },
            spec: policy.spec,
            status: policy.status,
        };
        Ok(of_lab.into_iter().map(policy).collect())
    }

    /// One of them, by name.
    pub async fn named(&self, name: &str) -> anyhow::Result<Option<Policy>> {
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
    fn reads_a_cluster_s_list_and_a_single_one() {
        assert_eq!(names(POLICY), ["service-a"]);
        let list = format!(r#"{{"kind": "List", "items": [{POLICY}, {POLICY}]}}"#);
        assert_eq!(names(&list), ["service-a", "service-a"]);
        assert!(names(r#"{"items": []}"#).is_empty());
    }

    #[test]
    fn refuses_what_is_no_policy() {
        for wrong in ["", "[]", "{}", r#"{"items": [{}]}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
