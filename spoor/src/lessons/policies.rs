//! The policies of a lab, or of a cluster as `kubectl get samplingpolicy -o json` prints them.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde_json::Value;
use spoor_api::{SamplingPolicy, read};

use crate::cli::{Invalid, LabClient};

/// The most that is read, in bytes: many times what a thousand policies with their status take.
const MAX_BYTES: u64 = 16 << 20;

/// The source of policies.
pub enum Policies {
    /// The lab, which is queried each time.
    Lab(LabClient),
    /// The content of a file.
    Loaded(Vec<SamplingPolicy>),
}

impl Policies {
    /// Reads policies from a file, or from standard input if the path is `-`.
    ///
    /// # Errors
    /// [`Invalid`] names the option, the file and the cause.
    pub fn read(path: &Path) -> Result<Self, Invalid> {
        let (name, text) = if path == Path::new("-") {
            ("standard input".to_owned(), text(io::stdin()))
        } else {
            (path.display().to_string(), File::open(path).and_then(text))
        };
        let invalid = |error: String| Invalid(vec![format!("--policies: {error}")]);
        let text = text.map_err(|error| invalid(format!("cannot read {name}: {error}")))?;
        if text.trim().is_empty() {
            return Err(invalid(format!("{name} is empty")));
        }
        parse(&text).map(Self::Loaded).map_err(|error| {
            let expected = "the output of `kubectl get samplingpolicy -o json`";
            invalid(format!("{name} is not {expected}: {error}"))
        })
    }

    /// The policies of the lab's default namespace, or all that were read.
    pub async fn all(&self) -> anyhow::Result<Vec<SamplingPolicy>> {
        match self {
            Self::Loaded(policies) => Ok(policies.clone()),
            // The lab's own services are in this namespace, and so are a lesson's policies.
            Self::Lab(client) => Ok(client.policies("default").await?),
        }
    }

    /// The policy of this name.
    pub async fn named(&self, name: &str) -> anyhow::Result<Option<SamplingPolicy>> {
        let mut all = self.all().await?.into_iter();
        Ok(all.find(|policy| policy.metadata.name == name))
    }
}

fn text(file: impl Read) -> io::Result<String> {
    let mut text = String::new();
    // Reading one byte more than allowed detects what is too large, even for pipes.
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(text)
}

fn parse(text: &str) -> serde_json::Result<Vec<SamplingPolicy>> {
    let mut document: Value = serde_json::from_str(text)?;
    // kubectl prints a list for a kind, and the object itself for a name.
    let policies = match document.get_mut("items") {
        Some(items) => serde_json::from_value(items.take())?,
        None => vec![document],
    };
    policies.into_iter().map(read::stored_policy).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const POLICY: &str = r#"{"apiVersion": "spoor.dev/v1alpha1", "kind": "SamplingPolicy",
        "metadata": {"name": "service-a", "namespace": "default", "managedFields": []},
        "spec": {"head": {"probability": "1%"}}}"#;

    fn names(text: &str) -> Vec<String> {
        let policies = parse(text).unwrap().into_iter();
        policies.map(|policy| policy.metadata.name).collect()
    }

    #[test]
    fn reads_lists_and_single_policies() {
        assert_eq!(names(POLICY), ["service-a"]);
        let list = format!(r#"{{"kind": "List", "items": [{POLICY}, {POLICY}]}}"#);
        assert_eq!(names(&list), ["service-a", "service-a"]);
        assert!(names(r#"{"items": []}"#).is_empty());
    }

    #[test]
    fn endless_input_is_refused() {
        let error = text(io::repeat(b' ')).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 16 MiB");
    }

    #[test]
    fn names_an_empty_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refusal = Policies::read(file.path()).err().unwrap();
        assert!(refusal.to_string().ends_with("is empty"), "{refusal}");
    }

    #[test]
    fn rejects_other_documents() {
        for wrong in ["", "[]", "{}", r#"{"items": [{}]}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
