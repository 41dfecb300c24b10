//! The handlers for policies.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use serde::Serialize;
use spoor_policy::{Namespace, PolicyKey, PolicyName};
use spoor_runtime::PathParameters;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    problem::{internal, invalid_name, problem},
    state::Admin,
};
use crate::{
    policies::{PolicyStore, PolicyStoreError},
    wire::{Documents, Problem},
};

/// The longest time that a request waits for its turn.
const MAX_TURN_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn apply(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Response, Problem> {
    respond(admin, move |store| store.apply(&documents)).await
}

pub(super) async fn diff(
    State(admin): State<Admin>,
    documents: Documents,
) -> Result<Response, Problem> {
    respond(admin, move |store| store.diff(&documents)).await
}

pub(super) async fn list_all(State(admin): State<Admin>) -> Result<Response, Problem> {
    respond(admin, |store| Ok(store.list(None))).await
}

pub(super) async fn list(
    State(admin): State<Admin>,
    PathParameters(namespace): PathParameters<String>,
) -> Result<Response, Problem> {
    let namespace = self::namespace(&namespace)?;
    respond(admin, move |store| Ok(store.list(Some(&namespace)))).await
}

pub(super) async fn one(
    State(admin): State<Admin>,
    PathParameters((namespace, name)): PathParameters<(String, String)>,
) -> Result<Response, Problem> {
    let key = key(&namespace, &name)?;
    respond(admin, move |store| store.get(&key)).await
}

pub(super) async fn delete(
    State(admin): State<Admin>,
    PathParameters((namespace, name)): PathParameters<(String, String)>,
) -> Result<Response, Problem> {
    let key = key(&namespace, &name)?;
    respond(admin, move |store| store.delete(&key)).await
}

/// Responds with the result of an operation of the store, which runs on a thread that may block: a
/// change writes to disk, and a read waits for the lock that the change holds.
async fn respond<T: Serialize + 'static>(
    admin: Admin,
    operation: impl FnOnce(&PolicyStore) -> Result<T, PolicyStoreError> + Send + 'static,
) -> Result<Response, Problem> {
    let store = admin.policies;
    let work = move || operation(&store).map_err(Problem::from);
    blocking_json(&admin.permits.operations, work).await
}

/// Runs work on a thread that may block, once it has a permit, and encodes its result there. With
/// many policies or instances, both take longer than a worker thread may be blocked.
pub(super) async fn blocking_json<T: Serialize + 'static>(
    permits: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let encode =
        |result: T| serde_json::to_vec(&result).map_err(|error| internal(error.to_string()));
    let json = blocking(permits, move || work().and_then(encode)).await??;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Runs work on a thread that may block, once it has a permit.
pub(crate) async fn blocking<T: Send + 'static>(
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
