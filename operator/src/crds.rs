//! The definitions of Spoor's resources, to print and to apply.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};

use crate::kubernetes::{ApiServerError, CALL_DEADLINE, with_deadline};

/// The default field manager of the definitions.
pub const FIELD_MANAGER: &str = "spoor-crds";

/// The reason why definitions cannot be printed or applied.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The definitions cannot be written as YAML.
    #[error("cannot write the definitions as YAML")]
    Encode(#[source] serde_yaml::Error),
    /// The API server did not accept a definition.
    #[error("cannot apply the definition of {0}")]
    Apply(String, #[source] ApiServerError),
}

/// This program's own definitions, as YAML.
///
/// # Errors
/// [`CrdError::Encode`].
pub fn yaml() -> Result<String, CrdError> {
    let mut text = String::new();
    for definition in spoor_api::crd::all() {
        text.push_str("---\n");
        text.push_str(&serde_yaml::to_string(&definition).map_err(CrdError::Encode)?);
    }
    Ok(text)
}

/// Applies this program's own definitions, and takes their fields over from other managers.
///
/// # Errors
/// [`CrdError::Apply`] names the first definition that the API server did not accept.
pub async fn apply(client: Client, manager: &str) -> Result<(), CrdError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    // Helm or an earlier version may own the fields.
    let parameters = PatchParams::apply(manager).force();
    for definition in spoor_api::crd::all() {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let patch = Patch::Apply(&definition);
        let applied = with_deadline(CALL_DEADLINE, api.patch(name, &parameters, &patch)).await;
        applied.map_err(|error| CrdError::Apply(name.to_owned(), error))?;
        tracing::info!(name, "applied a CustomResourceDefinition");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[test]
    fn prints_what_it_applies() {
        let text = yaml().unwrap();
        let documents = serde_yaml::Deserializer::from_str(&text);
        let documents = documents.map(|it| Value::deserialize(it).unwrap());
        let printed: Vec<Value> = documents.filter(|it| !it.is_null()).collect();
        assert_eq!(printed, spoor_api::crd::all());
        let names = printed.iter().map(|it| it["metadata"]["name"].as_str());
        assert!(names.flatten().all(|name| name.ends_with(".spoor.dev")));
        assert_eq!(printed.len(), 2);
    }
}
