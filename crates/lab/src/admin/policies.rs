//! The handlers for policies.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};
use spoor_runtime::PathParameters;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    problem::{internal, invalid_name, problem},
    state::Admin,
};
use crate::{
    policies::{PolicyStore, PolicyStoreError},
    wire::{ApplyResult, Change, Comparison, Documents, Problem},
};

/// The longest time that a request waits for its turn.
const MAX_TURN_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn apply(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<ApplyResult>, Problem> {
    let applied = run_blocking(&admin, move |store| store.apply(&documents));
    applied.await.map(Json)
}

pub(super) async fn diff(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Json<Comparison>, Problem> {
    let comparison = run_blocking(&admin, move |store| store.diff(&documents));
    comparison.await.map(Json)
}

pub(super) async fn list_all(State(admin): State<Admin>) -> Result<Response, Problem> {
    list_namespaces(admin, None).await
}

pub(super) async fn list(
    State(admin): State<Admin>,
    PathParameters(namespace): PathParameters<String>,
) -> Result<Response, Problem> {
    let namespace = self::namespace(&namespace)?;
    list_namespaces(admin, Some(namespace)).await
}

async fn list_namespaces(admin: Admin, only: Option<Namespace>) -> Result<Response, Problem> {
    // Written here, so that the copy of the policies is gone when the operation ends.
    let json = run_blocking(&admin, move |store| {
        Ok(serde_json::to_vec(&store.list(only.as_ref())))
    });
    let json = json.await?.map_err(|error| internal(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

pub(super) async fn one(
    State(admin): State<Admin>,
    PathParameters((namespace, name)): PathParameters<(String, String)>,
) -> Result<Json<SamplingPolicy>, Problem> {
    let key = key(&namespace, &name)?;
    let policy = run_blocking(&admin, move |store| store.get(&key));
    policy.await.map(Json)
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    PathParameters((namespace, name)): PathParameters<(String, String)>,
) -> Result<Json<Change>, Problem> {
    let key = key(&namespace, &name)?;
    let change = run_blocking(&admin, move |store| store.delete(&key));
    change.await.map(Json)
}

/// Runs an operation of the store on a thread that may block. A change writes to disk, and a read
/// waits for the lock that the change holds.
async fn run_blocking<T: Send + 'static>(
    admin: &Admin,
    operation: impl FnOnce(&PolicyStore) -> Result<T, PolicyStoreError> + Send + 'static,
) -> Result<T, Problem> {
    let store = admin.policies.clone();
    Ok(blocking(&admin.permits.operations, move || operation(&store)).await??)
}

/// Runs work on a thread that may block, once it has a permit.
pub(super) async fn blocking<T: Send + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    // Dropped with the request if its client disconnects before its turn. The permit moves to the
    // thread, which cannot be interrupted.
    let turn = Arc::clone(permits).acquire_owned();
    let permit = timeout(MAX_TURN_WAIT, turn).await.ok().and_then(Result::ok);
    let permit = permit.ok_or_else(|| {
        let detail = "too many requests of this kind; try again in a few seconds";
        problem(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail)
    })?;
    // A thread starts without a span, so its work would be a trace of its own.
    let span = tracing::Span::current();
    let work = move || {
        let result = span.in_scope(work);
        drop(permit);
        result
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| internal(error.to_string()))
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
