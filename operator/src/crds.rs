//! The definitions of Spoor's resources, to print and to apply.

use std::{fs, io, path::PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::Value;

use crate::kubernetes::{ApiServerError, CALL_DEADLINE, with_deadline};

/// The default field manager of the definitions.
pub const FIELD_MANAGER: &str = "spoor-crds";
const KIND: &str = "CustomResourceDefinition";

/// The reason why definitions cannot be printed, read or applied.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The definitions cannot be written as YAML.
    #[error("cannot write the definitions as YAML")]
    Encode(#[source] serde_yaml::Error),
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file is not YAML.
    #[error("{} is not YAML", .0.display())]
    Parse(PathBuf, #[source] serde_yaml::Error),
    /// A document in a file is not a definition.
    #[error("{}: document {document} must be a {KIND} with a name", .path.display())]
    NotADefinition {
        /// The file.
        path: PathBuf,
        /// The number of the document, from 1.
        document: usize,
    },
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

/// Reads the definitions in files; without files, returns this program's own.
///
/// # Errors
/// The file that cannot be read, is not YAML, or contains something else.
pub fn read(files: &[PathBuf]) -> Result<Vec<Value>, CrdError> {
    if files.is_empty() {
        return Ok(spoor_api::crd::all());
    }
    let mut definitions = vec![];
    for path in files {
        let text = fs::read_to_string(path).map_err(|error| CrdError::Read(path.clone(), error))?;
        for (index, document) in serde_yaml::Deserializer::from_str(&text).enumerate() {
            let value = Value::deserialize(document)
                .map_err(|error| CrdError::Parse(path.clone(), error))?;
            if value.is_null() {
                continue;
            }
            if value.get("kind").and_then(Value::as_str) != Some(KIND) || name(&value).is_none() {
                return Err(CrdError::NotADefinition {
                    path: path.clone(),
                    document: index + 1,
                });
            }
            definitions.push(value);
        }
    }
    Ok(definitions)
}

/// Applies definitions, and takes their fields over from other managers.
///
/// # Errors
/// [`CrdError::Apply`] names the first definition that the API server did not accept.
pub async fn apply(client: Client, definitions: &[Value], manager: &str) -> Result<(), CrdError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    // Helm or an earlier version may own the fields.
    let parameters = PatchParams::apply(manager).force();
    for definition in definitions {
        let name = name(definition).unwrap_or_default();
        let patch = Patch::Apply(definition);
        with_deadline(CALL_DEADLINE, api.patch(name, &parameters, &patch))
            .await
            .map_err(|error| CrdError::Apply(name.to_owned(), error))?;
        tracing::info!(name, "applied a CustomResourceDefinition");
    }
    Ok(())
}

fn name(definition: &Value) -> Option<&str> {
    definition.get("metadata")?.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crds.yaml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn prints_what_it_applies() {
        let (_folder, path) = file(&yaml().unwrap());
        assert_eq!(read(&[path]).unwrap(), read(&[]).unwrap());
        let names: Vec<_> = read(&[])
            .unwrap()
            .iter()
            .map(|it| name(it).map(str::to_owned))
            .collect();
        assert_eq!(names.len(), 2);
        assert!(
            names
                .iter()
                .flatten()
                .all(|name| name.ends_with(".spoor.dev"))
        );
    }

    #[test]
    fn refuses_anything_but_definitions() {
        let (_folder, path) = file("---\n---\nkind: ConfigMap\nmetadata: {name: a}\n");
        let error = read(&[path]).unwrap_err().to_string();
        assert!(
            error.ends_with("document 2 must be a CustomResourceDefinition with a name"),
            "{error}"
        );
        let (_folder, path) = file("a: [");
        assert!(matches!(read(&[path]), Err(CrdError::Parse(_, _))));
    }
}
