//! The handlers for policies.

use axum::{
    Json,
    extract::{Path, State},
};
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};

use super::{
    problem::{internal, invalid_name},
    state::Admin,
};
use crate::{
    policies::{PolicyStore, PolicyStoreError},
    wire::{Applied, Change, Comparison, Documents, Problem},
};

pub(super) async fn apply(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<Applied>, Problem> {
    run_blocking(&admin, move |store| store.apply(&documents))
        .await
        .map(Json)
}

pub(super) async fn diff(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<Comparison>, Problem> {
    run_blocking(&admin, move |store| store.diff(&documents))
        .await
        .map(Json)
}

pub(super) async fn list_all(
    State(admin): State<Admin>,
) -> Result<Json<Vec<SamplingPolicy>>, Problem> {
    run_blocking(&admin, |store| Ok(store.list(None)))
        .await
        .map(Json)
}

pub(super) async fn list(
    State(admin): State<Admin>,
    Path(namespace): Path<String>,
) -> Result<Json<Vec<SamplingPolicy>>, Problem> {
    let namespace = self::namespace(&namespace)?;
    run_blocking(&admin, move |store| Ok(store.list(Some(&namespace))))
        .await
        .map(Json)
}

pub(super) async fn one(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<SamplingPolicy>, Problem> {
    let key = key(&namespace, &name)?;
    run_blocking(&admin, move |store| {
        store.get(&key).ok_or(PolicyStoreError::Find(key))
    })
    .await
    .map(Json)
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Json<Change>, Problem> {
    let key = key(&namespace, &name)?;
    run_blocking(&admin, move |store| store.delete(&key))
        .await
        .map(Json)
}

/// Runs an operation of the store on a thread for blocking work. A change writes to disk, and a
/// read waits for the lock that the change holds.
async fn run_blocking<T: Send + 'static>(
    admin: &Admin,
    act: impl FnOnce(&PolicyStore) -> Result<T, PolicyStoreError> + Send + 'static,
) -> Result<T, Problem> {
    // Dropped with the request if its client disconnects before its turn. The permit moves to the
    // thread, which cannot be interrupted.
    let permit = admin.places.operations.clone().acquire_owned().await;
    let permit = permit.map_err(|error| internal(error.to_string()))?;
    let store = admin.policies.clone();
    let operation = move || {
        let result = act(&store);
        drop(permit);
        result
    };
    match tokio::task::spawn_blocking(operation).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => Err(internal(error.to_string())),
    }
}

pub(super) fn key(namespace: &str, name: &str) -> Result<PolicyKey, Problem> {
    let name =
        PolicyName::new(name).map_err(|error| invalid_name(format!("policy {name:?}: {error}")))?;
    Ok(PolicyKey {
        namespace: self::namespace(namespace)?,
        name,
    })
}

fn namespace(text: &str) -> Result<Namespace, Problem> {
    Namespace::new(text).map_err(|error| invalid_name(format!("namespace {text:?}: {error}")))
}
