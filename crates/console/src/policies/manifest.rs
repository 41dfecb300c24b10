//! A policy as text: read from a form, and written so that it can be shown and applied again.

use serde::Serialize;
use spoor_api::{Metadata, SamplingPolicy, read, to_yaml};
use spoor_policy::{InvalidName, Namespace, PolicyKey, PolicyName, message::is_invisible};

use crate::backend::{BackendError, Source};

/// The name of the text in errors.
const SOURCE: &str = "policy";
/// The longest text, in bytes. Reading it takes about 100 ms.
const MAX_BYTES: usize = 256 << 10;
/// The annotations that a console or `kubectl apply` adds.
const FOREIGN_ANNOTATIONS: [&str; 2] = [
    "spoor.dev/changed-by",
    "kubectl.kubernetes.io/last-applied-configuration",
];

/// A valid policy, ready to be compared and applied.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub key: PolicyKey,
    pub policy: SamplingPolicy,
    /// The policy as YAML.
    pub text: String,
}

impl Manifest {
    /// A policy that has names and a namespace already.
    pub(super) fn new(key: PolicyKey, policy: SamplingPolicy) -> Self {
        let policy = without_server_fields(policy);
        let text = text(&policy);
        Self { key, policy, text }
    }

    /// Reads the only policy of a text. If it names no namespace, it gets that of the source.
    pub(super) async fn read(source: &Source, text: String) -> Result<Self, BackendError> {
        if text.len() > MAX_BYTES {
            let message = format!("the policy must be smaller than {} KiB", MAX_BYTES >> 10);
            return Err(BackendError::TooLarge(message));
        }
        let default = source.namespace.clone().unwrap_or_default();
        let read = tokio::task::spawn_blocking(move || read_one(&text, default));
        let read = read.await;
        read.unwrap_or_else(|error| Err(vec![error.to_string()]))
            .map_err(BackendError::Validate)
    }
}

/// The text of a form with the line feeds that the policy had: browsers send CR and LF.
pub(super) fn with_line_feeds(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// A policy as YAML, without what only a server writes.
pub(super) fn shown(policy: &SamplingPolicy) -> String {
    text(&without_server_fields(policy.clone()))
}

fn read_one(text: &str, default: Namespace) -> Result<Manifest, Vec<String>> {
    let manifests = read::policies(text, SOURCE).map_err(|errors| {
        let errors = errors.iter().map(ToString::to_string);
        errors.collect::<Vec<_>>()
    })?;
    let found = manifests.len();
    let mut manifests = manifests.into_iter();
    let (Some(manifest), None) = (manifests.next(), manifests.next()) else {
        let problem = format!(
            "{SOURCE}: must be exactly one policy, not {found}; apply several with `spoor apply` \
             or `kubectl apply`"
        );
        return Err(vec![problem]);
    };
    let mut policy = manifest.policy;
    let namespace = match &policy.metadata.namespace {
        Some(namespace) => Namespace::new(namespace),
        None => Ok(default),
    };
    let invalid = |error: InvalidName| vec![format!("{SOURCE}: {error}")];
    let namespace = namespace.map_err(invalid)?;
    let name = PolicyName::new(&policy.metadata.name).map_err(invalid)?;
    policy.metadata.namespace = Some(namespace.to_string());
    Ok(Manifest::new(PolicyKey { namespace, name }, policy))
}

/// A policy without what only a server writes.
pub(super) fn without_server_fields(policy: SamplingPolicy) -> SamplingPolicy {
    let Metadata {
        name,
        namespace,
        labels,
        mut annotations,
        ..
    } = policy.metadata;
    for foreign in FOREIGN_ANNOTATIONS {
        annotations.remove(foreign);
    }
    let metadata = Metadata {
        namespace,
        labels,
        annotations,
        ..Metadata::named(name)
    };
    SamplingPolicy::new(metadata, policy.spec)
}

/// A policy as YAML, or as JSON if it has invisible characters: only JSON can escape each of them.
pub(super) fn text<T: Serialize>(policy: &T) -> String {
    let yaml = to_yaml(policy).unwrap_or_default();
    let is_hidden = |c: char| is_invisible(c) && c != '\n';
    if !yaml.contains(is_hidden) {
        return yaml;
    }
    let json = serde_json::to_string_pretty(policy).unwrap_or_default();
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside of strings, JSON has no invisible characters but line feeds.
        match is_hidden(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped.push('\n');
    escaped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const POLICY: &str = "apiVersion: spoor.dev/v1alpha1
kind: SamplingPolicy
metadata:
  name: a
  generation: 3
  uid: x
  annotations: {spoor.dev/changed-by: me, mine: kept}
spec:
  targets: [{service: VALUE}]
  head: {probability: 1%}
";

    fn read(text: &str) -> Result<Manifest, Vec<String>> {
        read_one(text, Namespace::new("shop").unwrap())
    }

    #[test]
    fn text_has_only_what_its_author_writes() {
        let manifest = read(POLICY).unwrap();
        assert_eq!(manifest.key.to_string(), "shop/a");
        let metadata = &manifest.policy.metadata;
        assert_eq!((metadata.generation, &metadata.uid), (None, &None));
        assert!(manifest.text.contains("mine: kept"), "{}", manifest.text);
        assert!(!manifest.text.contains("changed-by"), "{}", manifest.text);
    }

    #[rstest::rstest]
    #[case(r#""a""#)]
    #[case(r#""a\u202eb: 'c'""#)]
    #[case(r#""\\u202e\u2028""#)]
    fn text_is_visible_and_reads_as_the_same(#[case] quoted: &str) {
        let service: String = serde_json::from_str(quoted).unwrap();
        let manifest = read(&POLICY.replace("VALUE", quoted)).unwrap();
        assert_eq!(manifest.policy.spec.targets[0].service, service);
        let is_hidden = |c: char| is_invisible(c) && c != '\n';
        assert!(!manifest.text.contains(is_hidden), "{}", manifest.text);
        let again = read(&manifest.text).unwrap();
        assert_eq!(again.policy, manifest.policy);
    }

    #[rstest::rstest]
    #[case("", "not 0")]
    #[case("a: [", "policy:1")]
    fn other_text_is_refused(#[case] text: &str, #[case] expected: &str) {
        let errors = read(text).unwrap_err();
        assert!(errors[0].contains(expected), "{errors:?}");
        let two = format!("{POLICY}---\n{}", POLICY.replace("name: a", "name: b"));
        assert!(read(&two).unwrap_err()[0].contains("not 2"));
    }
}
