//! Validation of requests. Each error names the field and describes a valid value.

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use spoor_telemetry::http::{JsonBody, Problem, QueryParameters, RequestBody};
use uuid::Uuid;

use super::{
    store::Filter,
    task::{Moment, Priority, Task, Title},
};

/// A task to create, with the current time.
#[derive(Debug)]
pub(super) struct NewTask(pub(super) Task);

/// The tasks to list, and their maximum number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) filter: Filter,
    pub(super) limit: u16,
}

/// The task ID in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId(pub(super) Uuid);

/// A new task as sent. The fields are text, so that all errors are reported, not only the first.
#[derive(Debug, Deserialize)]
// A misspelled optional field, such as the due time, would otherwise be ignored.
#[serde(deny_unknown_fields)]
struct SentTask {
    title: String,
    priority: Option<String>,
    due: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentListing {
    state: Option<String>,
    limit: Option<String>,
}

impl RequestBody for SentTask {
    const EXAMPLE: &'static str =
        r#"{"title": "wash up", "priority": "high", "due": "2030-01-31T12:00:00Z"}"#;
}

impl<S: Send + Sync> FromRequest<S> for NewTask {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let JsonBody(sent) = JsonBody::<SentTask>::from_request(request, state).await?;
        let mut errors = Vec::new();
        let title = collect_error(&mut errors, "title", Title::new(&sent.title));
        let priority = sent
            .priority
            .map_or(Ok(Priority::default()), |it| it.parse());
        let priority = collect_error(&mut errors, "priority", priority);
        let due = sent.due.map(|due| due.parse()).transpose();
        let due = collect_error(&mut errors, "due", due);
        match (title, priority, due) {
            (Some(title), Some(priority), Some(due)) => Ok(Self(Task {
                id: Uuid::new_v4(),
                title,
                priority,
                created: Moment::now(),
                due,
                completed: None,
            })),
            _ => Err(invalid(&errors)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let QueryParameters(sent) =
            QueryParameters::<SentListing>::from_request_parts(parts, state).await?;
        let mut errors = Vec::new();
        let filter = collect_error(&mut errors, "state", filter(sent.state.as_deref()));
        let limit = collect_error(&mut errors, "limit", limit(sent.limit.as_deref()));
        match (filter, limit) {
            (Some(filter), Some(limit)) => Ok(Self { filter, limit }),
            _ => Err(invalid(&errors)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TaskId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, state).await.ok();
        text.and_then(|Path(id)| id.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                let detail = "id: must be a UUID such as 4f9f1b2e-6a1c-4c5e-9a3d-0f6b8c2d7e10";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            })
    }
}

/// The problem that lists all errors of a request.
fn invalid(errors: &[String]) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, errors.join("; "))
}

fn collect_error<T>(
    errors: &mut Vec<String>,
    field: &str,
    value: Result<T, impl std::fmt::Display>,
) -> Option<T> {
    value
        .map_err(|error| errors.push(format!("{field}: {error}")))
        .ok()
}

fn filter(text: Option<&str>) -> Result<Filter, String> {
    match text {
        None | Some("open") => Ok(Filter::Open),
        Some("completed") => Ok(Filter::Completed),
        Some("all") => Ok(Filter::All),
        Some(other) => Err(format!(
            "must be \"open\", \"completed\" or \"all\", not {other:?}"
        )),
    }
}

fn limit(text: Option<&str>) -> Result<u16, String> {
    const MAX_LIMIT: u16 = 1000;
    const DEFAULT_LIMIT: u16 = 100;
    let Some(text) = text else {
        return Ok(DEFAULT_LIMIT);
    };
    let number = text
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit));
    number.ok_or_else(|| format!("must be a number from 1 to {MAX_LIMIT}, not {text:?}"))
}
