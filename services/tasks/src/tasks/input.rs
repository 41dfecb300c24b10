//! What people send, checked: each error names the field and what would be right.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
};
use http::{StatusCode, request::Parts};
use serde::Deserialize;
use spoor_telemetry::http::Problem;
use uuid::Uuid;

use super::{
    store::Which,
    task::{Moment, Priority, Task, Title},
};

/// A task to be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewTask {
    title: Title,
    priority: Priority,
    due: Option<Moment>,
}

/// Which tasks are listed, and how many at most.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) which: Which,
    pub(super) limit: usize,
}

/// Which task a path is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId(pub(super) Uuid);

/// All that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(super) struct Wrong(Vec<String>);

/// The same as it was sent. Texts, so that all errors are found, and in our own words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentTask {
    title: String,
    #[serde(default)]
    priority: Option<String>,
    #[serde(default)]
    due: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SentListing {
    state: Option<String>,
    limit: Option<String>,
}

impl NewTask {
    /// Makes it now.
    pub(super) fn into_task(self) -> Task {
        let Self {
            title,
            priority,
            due,
        } = self;
        Task {
            id: Uuid::new_v4(),
            title,
            priority,
            created: Moment::now(),
            due,
            completed: None,
        }
    }
}

impl TryFrom<SentTask> for NewTask {
    type Error = Wrong;

    fn try_from(sent: SentTask) -> Result<Self, Wrong> {
        let mut wrong = Vec::new();
        let title = checked(&mut wrong, "title", Title::new(&sent.title));
        let priority = sent
            .priority
            .map_or(Ok(Priority::default()), |it| it.parse());
        let priority = checked(&mut wrong, "priority", priority);
        let due = sent.due.map(|due| due.parse()).transpose();
        let due = checked(&mut wrong, "due", due);
        match (title, priority, due) {
            (Some(title), Some(priority), Some(due)) => Ok(Self {
                title,
                priority,
                due,
            }),
            _ => Err(Wrong(wrong)),
        }
    }
}

impl TryFrom<SentListing> for Listing {
    type Error = Wrong;

    fn try_from(sent: SentListing) -> Result<Self, Wrong> {
        let mut wrong = Vec::new();
        let which = checked(&mut wrong, "state", state(sent.state.as_deref()));
        let limit = checked(&mut wrong, "limit", limit(sent.limit.as_deref()));
        match (which, limit) {
            (Some(which), Some(limit)) => Ok(Self { which, limit }),
            _ => Err(Wrong(wrong)),
        }
    }
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, wrong.to_string())
    }
}

impl<S: Send + Sync> FromRequest<S> for NewTask {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let sent = Json::<SentTask>::from_request(request, state).await;
        let Json(sent) = sent.map_err(in_few_words)?;
        Ok(sent.try_into()?)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Listing {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(sent) = Query::<SentListing>::from_request_parts(parts, state).await?;
        Ok(sent.try_into()?)
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

fn checked<T>(
    wrong: &mut Vec<String>,
    field: &str,
    value: Result<T, impl std::fmt::Display>,
) -> Option<T> {
    value
        .map_err(|error| wrong.push(format!("{field}: {error}")))
        .ok()
}

fn state(text: Option<&str>) -> Result<Which, String> {
    match text {
        None | Some("open") => Ok(Which::Open),
        Some("completed") => Ok(Which::Completed),
        Some("all") => Ok(Which::All),
        Some(_) => Err("must be \"open\", \"completed\" or \"all\"".to_owned()),
    }
}

fn limit(text: Option<&str>) -> Result<usize, String> {
    const MOST: usize = 1000;
    const USUAL: usize = 100;
    let Some(text) = text else { return Ok(USUAL) };
    let number = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    number.ok_or_else(|| format!("must be a number from 1 to {MOST}"))
}

fn in_few_words(rejection: JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonDataError(error) => {
            let example =
                r#"{"title": "wash up", "priority": "high", "due": "2030-01-31T12:00:00Z"}"#;
            let detail = format!("{}; must be such as {example}", cause(&error));
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
        other => other.into(),
    }
}

/// What is wrong at which field, without what the extractor says around it.
fn cause(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
