//! The policies of a lab, or of a cluster as `kubectl get samplingpolicy -o json` prints them.

use std::{io, path::Path};

use serde::Deserialize;
use spoor_api::{SamplingPolicySpec, SamplingPolicyStatus, status::Condition};

use crate::cli::{Invalid, LabClient};

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

#[derive(Deserialize)]
#[serde(untagged)]
// kubectl prints a list for a kind, and the object itself for a name.
enum OneOrMany {
    Many { items: Vec<CheckedPolicy> },
    One(Box<CheckedPolicy>),
}

impl CheckedPolicy {
    /// The condition of this type, if the policy has a status.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        let mut conditions = self.status.as_ref()?.conditions.iter();
        conditions.find(|it| it.kind == kind)
    }
}

impl Policies {
    /// Reads policies from a file, or from standard input if the path is `-`.
    ///
    /// # Errors
    /// [`Invalid`] names the option, the file and the cause.
    pub fn read(path: &Path) -> Result<Self, Invalid> {
        let text = if path == Path::new("-") {
            io::read_to_string(io::stdin())
        } else {
            std::fs::read_to_string(path)
        };
        let name = path.display();
        let invalid = |error: String| Invalid(vec![format!("--policies: {error}")]);
        let text = text.map_err(|error| invalid(format!("cannot read {name}: {error}")))?;
        parse(&text).map_err(|error| {
            let expected = "the output of `kubectl get samplingpolicy -o json`";
            invalid(format!("{name} is not {expected}: {error}"))
        })
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
