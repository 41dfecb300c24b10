//! The lessons: their list, and each one's text beside the newest traces, with its check.

mod exercise;
mod links;
mod list;
mod markdown;
mod model;
mod newest;
mod page;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{Path, State, rejection::PathRejection},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, Uri};
use maud::html;
use tokio::sync::Semaphore;

use crate::{
    BackendError,
    console::Console,
    layout::{Section, Site},
    tokens::Form,
};
use exercise::{Attempt, Exercise, Fields, Outcome};

pub use model::{
    Answer, Finding, FindingState, LessonReport, LessonSummary, LessonText, Lessons, Question,
    Round,
};

/// The longest check. It waits a few seconds for spans that are missing.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest start of a round, in which a service may be restarted.
const ROUND_TIMEOUT: Duration = Duration::from_secs(120);

/// A number in a path, which may be any text.
type Number = Result<Path<usize>, PathRejection>;

/// The right to run a check or to start a round: a check may read many traces, and a round sets
/// faults, so that only one of them runs at a time.
#[derive(Clone)]
struct Turn(Arc<Semaphore>);

/// `/lessons`, `/lessons/{number}` and its `traces`, `check` and `round`.
pub(crate) fn router() -> Router<Console> {
    let turn = Turn(Arc::new(Semaphore::new(1)));
    Router::new()
        .route("/lessons", get(all))
        .route("/lessons/{number}", get(one))
        .route("/lessons/{number}/traces", get(traces))
        .route("/lessons/{number}/check", get(to_lesson).post(check))
        .route("/lessons/{number}/round", get(to_lesson).post(start_round))
        .layer(Extension(turn))
}

async fn all(State(console): State<Console>, uri: Uri) -> Response {
    let site = Site::of(&console, &uri);
    let Some(lessons) = console.backend().lessons() else {
        return missing(&site);
    };
    let content = list::list(&site, &lessons.list());
    let page = site.document_with(Section::Lessons, "Lessons", "lessons", content);
    page.into_response()
}

async fn one(State(console): State<Console>, number: Number, uri: Uri) -> Response {
    show(&console, number, &uri, Attempt::default()).await
}

/// The list of traces without a page around it, for the script.
async fn traces(State(console): State<Console>, number: Number, uri: Uri) -> Response {
    let site = Site::of(&console, &uri);
    if lesson_of(&console, &number).is_none() {
        return missing(&site);
    }
    match newest::newest(&console, &site).await {
        Ok(traces) => Html(traces.into_string()).into_response(),
        Err(error) => {
            let message = Html(newest::failed(&error).into_string());
            (status_of(&error), message).into_response()
        }
    }
}

/// A reload of the page that shows the result of a check.
async fn to_lesson(State(console): State<Console>, number: Number, uri: Uri) -> Response {
    let site = Site::of(&console, &uri);
    match number {
        Ok(Path(number)) => Redirect::to(&list::link(&site, number)).into_response(),
        Err(_) => missing(&site),
    }
}

async fn check(
    State(console): State<Console>,
    Extension(turn): Extension<Turn>,
    number: Number,
    uri: Uri,
    Form(fields): Form<Fields>,
) -> Response {
    let Some((of, lesson)) = lesson_of(&console, &number) else {
        return missing(&Site::of(&console, &uri));
    };
    let outcome = match exercise::answers(&fields, &lesson.questions) {
        Ok(answers) => {
            let console = console.clone();
            let check = async move { lessons(&console)?.check(of, answers).await };
            let checked = run_alone(turn, CHECK_TIMEOUT, check).await;
            checked.map_or_else(Outcome::Failed, Outcome::Checked)
        }
        Err(error) => Outcome::Failed(error),
    };
    show(&console, number, &uri, Attempt { fields, outcome }).await
}

async fn start_round(
    State(console): State<Console>,
    Extension(turn): Extension<Turn>,
    number: Number,
    uri: Uri,
    Form(fields): Form<Fields>,
) -> Response {
    let Some((of, _)) = lesson_of(&console, &number) else {
        return missing(&Site::of(&console, &uri));
    };
    let round = {
        let console = console.clone();
        async move { lessons(&console)?.start_round(of).await }
    };
    let started = run_alone(turn, ROUND_TIMEOUT, round).await;
    let outcome = started.map_or_else(Outcome::Failed, Outcome::Started);
    show(&console, number, &uri, Attempt { fields, outcome }).await
}

/// Runs a check or a round, unless one is running.
async fn run_alone<T: Send + 'static>(
    turn: Turn,
    timeout: Duration,
    work: impl Future<Output = Result<T, BackendError>> + Send + 'static,
) -> Result<T, BackendError> {
    let permit = turn.0.try_acquire_owned().map_err(|_| {
        let message = "a check or a round is running; wait for its end, and try again";
        BackendError::Reach(message.to_owned())
    })?;
    // A task, since the browser may close the connection: a round has to restore what it changed,
    // and must not overlap with the next one.
    let task = tokio::spawn(async move {
        let _permit = permit;
        work.await
    });
    // The task goes on after the timeout.
    match tokio::time::timeout(timeout, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(BackendError::Reach(format!("the check failed: {error}"))),
        Err(_) => {
            let message = format!("no result within {} s; try again", timeout.as_secs());
            Err(BackendError::Reach(message))
        }
    }
}

/// The page of a lesson.
async fn show(console: &Console, number: Number, uri: &Uri, attempt: Attempt) -> Response {
    let site = Site::of(console, uri);
    let Some((number, lesson)) = lesson_of(console, &number) else {
        return missing(&site);
    };
    let traces = newest::newest(console, &site).await;
    let traces = traces.unwrap_or_else(|error| newest::failed(&error));
    let lessons = lessons(console).map_or_else(|_| vec![], Lessons::list);
    let token = (!console.is_read_only()).then(|| console.tokens().issue());
    let exercise = Exercise {
        site: &site,
        number,
        lesson: &lesson,
        next: lessons.iter().map(|it| it.number).find(|it| *it > number),
        token: token.as_deref(),
        attempt: &attempt,
    };
    let content = page::page(&exercise, &lessons, &traces);
    let title = format!("Lesson {number}");
    let page = site.document_with(Section::Lessons, &title, "lessons", content);
    let status = match &attempt.outcome {
        Outcome::Failed(error) => status_of(error),
        Outcome::Nothing | Outcome::Checked(_) | Outcome::Started(_) => StatusCode::OK,
    };
    (status, page).into_response()
}

fn lessons(console: &Console) -> Result<&dyn Lessons, BackendError> {
    let lessons = console.backend().lessons();
    lessons.ok_or_else(|| BackendError::Find("there are no lessons here".to_owned()))
}

fn lesson_of(console: &Console, number: &Number) -> Option<(usize, LessonText)> {
    let Path(number) = *number.as_ref().ok()?;
    let lesson = console.backend().lessons()?.lesson(number)?;
    Some((number, lesson))
}

fn status_of(error: &BackendError) -> StatusCode {
    match error {
        BackendError::Validate(_) => StatusCode::BAD_REQUEST,
        BackendError::Find(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn missing(site: &Site) -> Response {
    let message = html! { p { "There is no such lesson. Only a lab has lessons." } };
    let page = site.notice(
        Section::Lessons,
        "Lesson not found",
        "Lesson not found",
        message,
    );
    (StatusCode::NOT_FOUND, page).into_response()
}
