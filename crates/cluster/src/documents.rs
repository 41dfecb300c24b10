//! The policies in documents, each with the namespace in which it is to be applied.

use std::collections::BTreeSet;

use jiff::Timestamp;
use spoor_api::{
    FieldError, FieldPath, SamplingPolicy,
    changes::Document,
    read::{MAX_VALUES, PolicyManifest, policies_within},
};
use spoor_console::BackendError;
use spoor_policy::{Namespace, PolicyKey};

/// The most policies that are applied or compared together. Each takes a few calls to the API
/// server.
const MAX_POLICIES: usize = 1_000;

/// A policy to apply.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) key: PolicyKey,
    /// The policy as written, with its namespace.
    pub(crate) resource: SamplingPolicy,
}

/// The namespaces of policies in documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespaces<'a> {
    /// The namespace of policies that name none.
    pub(crate) default: &'a Namespace,
    /// The only namespace that policies may name; any if unset.
    pub(crate) only: Option<&'a Namespace>,
}

/// Reads all policies of all documents.
///
/// # Errors
/// [`BackendError::Validate`] with the errors in all documents, as `FILE:LINE: field: …`.
pub(crate) fn read(
    documents: &[Document],
    namespaces: Namespaces<'_>,
) -> Result<Vec<Planned>, BackendError> {
    let (mut planned, mut errors, mut keys) = (vec![], vec![], BTreeSet::new());
    let mut room = MAX_VALUES;
    for Document { source, text } in documents {
        match policies_within(text, source, &mut room) {
            Ok(manifests) => {
                for manifest in &manifests {
                    match plan(manifest, namespaces) {
                        Ok(plan) if keys.insert(plan.key.clone()) => planned.push(plan),
                        Ok(plan) => errors.push(name_error(manifest, &plan.key)),
                        Err(invalid) => errors.extend(invalid),
                    }
                }
            }
            Err(invalid) => errors.extend(invalid.iter().map(ToString::to_string)),
        }
    }
    if planned.len() > MAX_POLICIES {
        let count = planned.len();
        return Err(BackendError::TooLarge(format!(
            "at most {MAX_POLICIES} policies can be applied at once, not {count}"
        )));
    }
    match errors.is_empty() {
        true => Ok(planned),
        false => Err(BackendError::Validate(errors)),
    }
}

fn plan(manifest: &PolicyManifest, namespaces: Namespaces<'_>) -> Result<Planned, Vec<String>> {
    let mut resource = manifest.policy.clone();
    let named = &mut resource.metadata.namespace;
    let namespace = named.get_or_insert_with(|| namespaces.default.to_string());
    if let Some(only) = namespaces.only
        && namespace != only.as_str()
    {
        let path = FieldPath::root().field("metadata").field("namespace");
        let problem = format!("must be {only:?}, the requested namespace, not {namespace:?}");
        return Err(vec![
            manifest.error(FieldError::new(path, problem)).to_string(),
        ]);
    }
    // Reading has validated the policy already; this is for its key.
    let policy = resource.validate(Timestamp::UNIX_EPOCH);
    let policy = policy.map_err(|errors| {
        let located = errors.into_iter().map(|it| manifest.error(it).to_string());
        located.collect::<Vec<_>>()
    })?;
    Ok(Planned {
        key: policy.key.clone(),
        resource,
    })
}

fn name_error(manifest: &PolicyManifest, key: &PolicyKey) -> String {
    let path = FieldPath::root().field("metadata").field("name");
    let name = key.name.as_str();
    let problem = format!("duplicate policy {name:?}; give each policy its own name");
    manifest.error(FieldError::new(path, problem)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn document(namespace: &str) -> Document {
        let text = format!(
            "apiVersion: spoor.dev/v1alpha1\nkind: SamplingPolicy\nmetadata:\n  name: a\n{namespace}\
             spec: {{head: {{probability: 1%}}}}\n"
        );
        Document {
            source: "p.yaml".to_owned(),
            text,
        }
    }

    fn keys(documents: &[Document], only: Option<&Namespace>) -> Result<Vec<String>, String> {
        let default = only.cloned().unwrap_or_default();
        let namespaces = Namespaces {
            default: &default,
            only,
        };
        let planned = read(documents, namespaces).map_err(|error| error.to_string())?;
        Ok(planned.iter().map(|it| it.key.to_string()).collect())
    }

    #[rstest::rstest]
    #[case::unnamed("", Some("shop"), "shop/a")]
    #[case::named("  namespace: till\n", None, "till/a")]
    #[case::as_requested("  namespace: shop\n", Some("shop"), "shop/a")]
    fn policy_gets_its_namespace(
        #[case] named: &str,
        #[case] only: Option<&str>,
        #[case] key: &str,
    ) {
        let only = only.map(|it| Namespace::new(it).unwrap());
        let found = keys(&[document(named)], only.as_ref());
        assert_eq!(found, Ok(vec![key.to_owned()]));
    }

    #[test]
    fn another_namespace_than_requested_is_refused() {
        let only = Namespace::new("shop").unwrap();
        let error = keys(&[document("  namespace: till\n")], Some(&only)).unwrap_err();
        assert!(
            error.starts_with("p.yaml:4: metadata.namespace: "),
            "{error}"
        );
    }

    #[test]
    fn policy_in_two_documents_is_refused() {
        let error = keys(&[document(""), document("")], None).unwrap_err();
        assert!(error.contains("duplicate policy \"a\""), "{error}");
    }
}
