//! Policies: apply, compare, list, delete.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::{Admin, Applied, Change, Difference, Document, Documents, Problem};
use crate::lab::policies::{Desk, DeskError};

/// What errors call a body that is itself the file.
#[derive(Deserialize)]
pub(super) struct Named {
    source: Option<String>,
}

pub(super) async fn apply(
    State(admin): State<Admin>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Applied>, Problem> {
    let documents = documents(named, &headers, &body)?;
    at_desk(admin.desk, move |desk| desk.apply(&documents))
        .await
        .map(Json)
}

pub(super) async fn diff(
    State(admin): State<Admin>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<Difference>>, Problem> {
    let documents = documents(named, &headers, &body)?;
    at_desk(admin.desk, move |desk| desk.diff(&documents))
        .await
        .map(Json)
}

pub(super) async fn list_all(State(admin): State<Admin>) -> Json<Vec<SamplingPolicy>> {
    Json(admin.desk.list(None))
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
) -> Result<Json<Vec<SamplingPolicy>>, Problem> {
    Ok(Json(admin.desk.list(Some(&self::namespace(&namespace)?))))
}

pub(super) async fn one(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<SamplingPolicy>, Problem> {
    let key = key(&namespace, &name)?;
    let found = admin.desk.get(&key);
    found
        .map(Json)
        .ok_or_else(|| DeskError::NotFound(key).into())
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Change>, Problem> {
    let key = key(&namespace, &name)?;
    at_desk(admin.desk, move |desk| desk.delete(&key))
        .await
        .map(Json)
}

/// A change waits for the disk, so it is made where that holds up nothing else.
async fn at_desk<T: Send + 'static>(
    desk: Desk,
    act: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || act(&desk)).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(internal(error.to_string())),
    }
}

/// A list of files as JSON, or one file as it is.
fn documents(named: Named, headers: &HeaderMap, body: &Bytes) -> Result<Documents, Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = content_type
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    match essence {
        "application/json" => serde_json::from_slice(body).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "Not a list of documents",
                error.to_string(),
            )
        }),
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = std::str::from_utf8(body).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "Not UTF-8", error.to_string())
            })?;
            let source = named.source.unwrap_or_else(|| "body".into());
            Ok(Documents {
                documents: vec![Document {
                    source,
                    text: text.into(),
                }],
            })
        }
        _ => {
            let detail = "send application/yaml, or application/json of the form \
                          {\"documents\": [{\"source\": …, \"text\": …}]}";
            Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
                detail,
            ))
        }
    }
}

fn key(namespace: &str, name: &str) -> Result<PolicyKey, Problem> {
    let name =
        PolicyName::new(name).map_err(|error| bad_path(format!("policy {name:?}: {error}")))?;
    Ok(PolicyKey {
        namespace: self::namespace(namespace)?,
        name,
    })
}

fn namespace(text: &str) -> Result<Namespace, Problem> {
    Namespace::new(text).map_err(|error| bad_path(format!("namespace {text:?}: {error}")))
}

fn bad_path(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "Bad name", detail)
}

fn internal(detail: String) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid(errors) => Self::invalid(errors),
            DeskError::NotFound(key) => Self::not_found(format!("policy {:?}", key.name.as_str())),
            DeskError::OwnedByFolder { .. } => Self::conflict(error.to_string()),
            DeskError::Keep(source) => internal(format!("nothing was changed: {source}")),
        }
    }
}
