//! The HTTP API.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use http::{StatusCode, header};
use serde::Serialize;
use spoor_telemetry::http::{ConnectionTurn, ListBudget, Problem};

use super::{
    input::{Listing, NewTask, TaskId},
    metrics::Metrics,
    store::{SharedStore, StoreError},
    task::{Moment, Task},
};

/// The state of the handlers, with operations on tasks.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) store: SharedStore,
    pub(super) metrics: Arc<Metrics>,
    pub(super) lists: ListBudget,
}

/// A task in a response.
#[derive(Debug, Serialize)]
struct TaskResponse {
    #[serde(flatten)]
    task: Task,
    overdue: bool,
}

#[derive(Debug, Serialize)]
struct List {
    tasks: Vec<TaskResponse>,
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    /// The kind of store.
    store: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Api {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/tasks", get(list).post(create))
            .route("/tasks/{id}", get(get_one).delete(delete))
            .route("/tasks/{id}/complete", post(complete))
            .route("/health", get(health))
            .with_state(self)
    }
}

async fn create(
    State(api): State<Api>,
    NewTask(task): NewTask,
) -> Result<impl IntoResponse, Problem> {
    let task = api.create(task).await?;
    let location = [(header::LOCATION, format!("/tasks/{}", task.id))];
    let task = Json(TaskResponse::from(task));
    Ok((StatusCode::CREATED, location, task))
}

async fn list(
    State(api): State<Api>,
    connection: ConnectionTurn,
    listing: Listing,
) -> Result<Json<List>, Problem> {
    let _reserved = api.lists.reserve(&connection, listing.limit.into()).await?;
    let tasks = api.list(listing).await?;
    let tasks = tasks.into_iter().map(TaskResponse::from).collect();
    Ok(Json(List { tasks }))
}

async fn get_one(
    State(api): State<Api>,
    TaskId(id): TaskId,
) -> Result<Json<TaskResponse>, Problem> {
    let task = api.get(id).await?.ok_or_else(task_not_found)?;
    Ok(Json(task.into()))
}

async fn complete(
    State(api): State<Api>,
    TaskId(id): TaskId,
) -> Result<Json<TaskResponse>, Problem> {
    let task = api.complete(id).await?.ok_or_else(task_not_found)?;
    Ok(Json(task.into()))
}

async fn delete(State(api): State<Api>, TaskId(id): TaskId) -> Result<StatusCode, Problem> {
    match api.delete(id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(task_not_found()),
    }
}

/// Reports whether the store responds. The status is 200 even if it does not, so that probes do not
/// restart a service because Redis is down.
async fn health(State(api): State<Api>) -> Json<Health> {
    // Only a test of whether the store responds: the numbers are in the metrics.
    let counted = api.store.count(Moment::now()).await;
    Json(Health {
        status: if counted.is_ok() { "ok" } else { "degraded" },
        store: api.store.name(),
        reason: counted.err().map(|error| error.to_string()),
    })
}

fn task_not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no task with this ID")
}

impl From<Task> for TaskResponse {
    fn from(task: Task) -> Self {
        Self {
            overdue: task.is_overdue(Moment::now()),
            task,
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match &error {
            // Not 503: the request succeeds only after a task is completed or deleted.
            StoreError::Full => StatusCode::CONFLICT,
            // The same request may succeed in a moment.
            StoreError::Unavailable(..) | StoreError::Timeout(_) | StoreError::Refused(..) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
