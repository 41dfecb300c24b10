//! The handlers for policies.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use spoor_api::SamplingPolicy;
use spoor_policy::{Namespace, PolicyKey, PolicyName};
use spoor_runtime::PathParameters;
use tokio::time::timeout;

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

/// Runs an operation of the store on a thread for blocking work. A change writes to disk, and a
/// read waits for the lock that the change holds.
pub(super) async fn run_blocking<T: Send + 'static>(
    admin: &Admin,
    operation: impl FnOnce(&PolicyStore) -> Result<T, PolicyStoreError> + Send + 'static,
) -> Result<T, Problem> {
    // Dropped with the request if its client disconnects before its turn. The permit moves to the
    // thread, which cannot be interrupted.
    let turn = admin.permits.operations.clone().acquire_owned();
    let permit = timeout(MAX_TURN_WAIT, turn).await.ok().and_then(Result::ok);
    let permit = permit.ok_or_else(|| {
        let detail =
            "too many requests read the status or change policies; try again in a few seconds";
        problem(StatusCode::SERVICE_UNAVAILABLE, "Busy", detail)
    })?;
    let store = admin.policies.clone();
    // A thread starts without a span, so that its work would be a trace of its own.
    let span = tracing::Span::current();
    let work = move || {
        let result = span.in_scope(|| operation(&store));
        drop(permit);
        result
    };
    match tokio::task::spawn_blocking(work).await {
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
