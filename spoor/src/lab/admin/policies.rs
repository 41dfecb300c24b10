//! Policies: apply, compare, list, delete.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::{Admin, Applied, Change, Comparison, Documents, Problem};
use crate::lab::policies::{Desk, DeskError};

pub(super) async fn apply(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<Applied>, Problem> {
    at_desk(admin.desk, move |desk| desk.apply(&documents))
        .await
        .map(Json)
}

pub(super) async fn diff(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<Comparison>, Problem> {
    at_desk(admin.desk, move |desk| desk.diff(&documents))
        .await
        .map(Json)
}

pub(super) async fn list_all(
    State(admin): State<Admin>,
) -> Result<Json<Vec<SamplingPolicy>>, Problem> {
    at_desk(admin.desk, |desk| Ok(desk.list(None)))
        .await
        .map(Json)
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
) -> Result<Json<Vec<SamplingPolicy>>, Problem> {
    let namespace = self::namespace(&namespace)?;
    at_desk(admin.desk, move |desk| Ok(desk.list(Some(&namespace))))
        .await
        .map(Json)
}

pub(super) async fn one(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<SamplingPolicy>, Problem> {
    let key = key(&namespace, &name)?;
    at_desk(admin.desk, move |desk| {
        desk.get(&key).ok_or(DeskError::NotFound(key))
    })
    .await
    .map(Json)
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

/// A change waits for the disk and a look for a change, so both are done where that holds up
/// nothing else.
async fn at_desk<T: Send + 'static>(
    desk: Desk,
    act: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(move || act(&desk)).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(internal(error.to_string())),
    }
}

pub(super) fn key(namespace: &str, name: &str) -> Result<PolicyKey, Problem> {
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
            DeskError::Keep(_) => internal(format!("{:#}", anyhow::Error::new(error))),
        }
    }
}
