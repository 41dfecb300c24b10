//! The pages of traces: a search, and a trace as a waterfall. All text from spans and requests is
//! escaped.

mod bar;
mod compared_paths;
mod comparison;
mod details;
mod differs;
mod entries;
mod filter;
mod findings;
mod flame;
mod form;
mod import;
mod links;
mod listed;
mod minimap;
mod operations;
mod results;
mod routine;
mod scatter;
mod tabs;
mod tools;
mod trace;
mod waterfall;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State, rejection::PathRejection},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use http::{StatusCode, Uri, header};
use maud::html;
use spoor_traces::{
    InvalidTraceId, TraceId,
    query::{parameters::Parameters, to_otlp_json},
    tree::Tree,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub use listed::ListedTrace;

use crate::{
    backend::{BackendError, FoundTraces, TraceSpans},
    console::Console,
    layout::{Section, Site},
    palette::Palette,
    text,
};
use entries::Entries;
use filter::Filter;
use links::LinkedFrom;
use tabs::Tab;
use waterfall::View;

/// `/` and `/search`, with `/search/rows` for the rows of new traces; `/trace` and `/trace/{id}`, with
/// `/trace/{id}.json` for a trace as a file; `/compare` for two traces, `/differs` for slow or failed
/// ones against the others, and `/import` for a trace from a file.
pub(crate) fn router() -> Router<Console> {
    let import = get(import::form_page).post(import::import);
    let import = import.layer(DefaultBodyLimit::max(import::MAX_BODY_BYTES));
    Router::new()
        .route("/", get(search))
        .route("/search", get(search))
        .route("/search/rows", get(new_rows))
        .route("/import", import)
        .route("/differs", get(differs::page))
        .route("/compare", get(comparison::page))
        .route("/trace", get(by_id))
        .route("/trace/{id}", get(trace))
}

/// The turns of pages and files of single traces. Each may hold 64 MiB of decoded spans, which
/// docs/query.md counts.
static TURNS: Semaphore = Semaphore::const_new(2);
/// The longest time that a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);

async fn search(State(console): State<Console>, uri: Uri, parameters: Parameters) -> Response {
    let site = Site::of(&console, &uri);
    let filter = Filter::read(&parameters);
    let backend = console.backend();
    let kind = backend.source().kind;
    let (services, operations, found) = tokio::join!(
        backend.services(),
        operations(&console, &filter.service),
        find(&console, &filter),
    );
    let render = move || {
        // Without these lists the form still works.
        let services = services.unwrap_or_default();
        let (status, results) = match found {
            None => (StatusCode::BAD_REQUEST, results::invalid()),
            Some(Ok(found)) => {
                let palette = search_palette(&services, &found);
                (
                    StatusCode::OK,
                    results::results(&site, &filter, kind, found, &palette),
                )
            }
            Some(Err(error)) => (status(&error), results::refused(&error)),
        };
        let content = html! {
            (form::form(&site, &filter, &services, &operations))
            (results)
        };
        (
            status,
            site.document_with(Section::Traces, "Traces", "traces", content),
        )
    };
    console.render(render).await
}

/// The rows of traces that are newer than those of a page, for its script.
async fn new_rows(State(console): State<Console>, parameters: Parameters) -> Response {
    // The links are relative to the page that gets the rows.
    let site = Site::of(&console, &Uri::from_static("/search"));
    let mut filter = Filter::read(&parameters);
    let newest = parameters.get("after").and_then(|after| after.parse().ok());
    filter.restrict_to_new(newest.unwrap_or(0));
    let (services, found) = tokio::join!(console.backend().services(), find(&console, &filter));
    let render = move || {
        let (status, rows) = match found {
            None => (StatusCode::BAD_REQUEST, results::invalid()),
            Some(Ok(found)) => {
                let palette = search_palette(&services.unwrap_or_default(), &found);
                (
                    StatusCode::OK,
                    results::rows(&site, &filter, found.traces, &palette),
                )
            }
            Some(Err(error)) => (status(&error), results::refused(&error)),
        };
        (status, Html(rows.into_string()))
    };
    console.render(render).await
}

/// The colours of all services, including those of traces that arrived after the services were
/// listed.
fn search_palette(services: &[String], found: &FoundTraces) -> Palette {
    let named = found.traces.iter().flat_map(|trace| &trace.services);
    let named = named.map(|(name, _)| name.as_str());
    Palette::new(services.iter().map(String::as_str).chain(named))
}

/// The names of a service's operations; none if no service is selected.
async fn operations(console: &Console, service: &str) -> Vec<String> {
    match service {
        "" => Vec::new(),
        service => console
            .backend()
            .operations(service)
            .await
            .unwrap_or_default(),
    }
}

/// Searches, unless a field is invalid.
async fn find(console: &Console, filter: &Filter) -> Option<Result<FoundTraces, BackendError>> {
    if !filter.problems.is_empty() {
        return None;
    }
    let mut search = filter.search.clone();
    if filter.hides_routine() {
        // Some of those found are not listed.
        search.limit *= 3;
    }
    Some(console.backend().find_traces(search).await)
}

async fn by_id(State(console): State<Console>, uri: Uri, parameters: Parameters) -> Response {
    let id = parameters.get("id").unwrap_or_default().trim();
    match id.parse::<TraceId>() {
        // Relative, since the page may be served under a prefix.
        Ok(id) => Redirect::to(&format!("trace/{id}")).into_response(),
        Err(error) => invalid_id(&Site::of(&console, &uri), id, &error),
    }
}

async fn trace(
    State(console): State<Console>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    parameters: Parameters,
) -> Response {
    let site = Site::of(&console, &uri);
    // Text that is not UTF-8 is an invalid trace ID too; the page says which IDs are valid.
    let id = id.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    let file = id.strip_suffix(".json");
    let parsed: TraceId = match file.unwrap_or(&id).parse() {
        Ok(id) => id,
        Err(error) => return invalid_id(&site, &id, &error),
    };
    match read(&console, parsed).await {
        Ok(Some((spans, turn))) if file.is_some() => download(&site, spans, turn).await,
        Ok(Some((spans, turn))) => page(&console, site, spans, turn, &parameters).await,
        Ok(None) => (StatusCode::NOT_FOUND, trace::missing(&site, parsed)).into_response(),
        Err(error) => site.error(Section::Traces, &error),
    }
}

/// Reads a trace when its turn comes, which ends when the spans are dropped.
async fn read(
    console: &Console,
    id: TraceId,
) -> Result<Option<(TraceSpans, SemaphorePermit<'static>)>, BackendError> {
    let turn = turns(1).await?;
    let spans = console.backend().trace(id).await?;
    Ok(spans.map(|spans| (spans, turn)))
}

/// Reads two traces in the turns of both.
async fn read_all(
    console: &Console,
    [first, second]: [TraceId; 2],
) -> Result<([Option<TraceSpans>; 2], SemaphorePermit<'static>), BackendError> {
    // Together: two requests that hold one turn each would wait for each other.
    let turn = turns(2).await?;
    let first = console.backend().trace(first).await?;
    let second = console.backend().trace(second).await?;
    Ok(([first, second], turn))
}

async fn turns(number: u32) -> Result<SemaphorePermit<'static>, BackendError> {
    let busy =
        || BackendError::Reach("too many traces are open; try again in a few seconds".to_owned());
    let turn = timeout(MAX_WAIT, TURNS.acquire_many(number)).await;
    turn.map_err(|_| busy())?.map_err(|_| busy())
}

async fn page(
    console: &Console,
    site: Site,
    spans: TraceSpans,
    turn: SemaphorePermit<'static>,
    parameters: &Parameters,
) -> Response {
    let from = parameters.get("from").and_then(|from| from.parse().ok());
    let tab = Tab::read(parameters);
    let shows_all = parameters.get("all") == Some("show");
    let services = console.backend().services().await.unwrap_or_default();
    let render = move || {
        // Until the spans are dropped, even if the client disconnects.
        let _turn = turn;
        let TraceSpans {
            id,
            resource_spans,
            kept,
        } = spans;
        let tree = Tree::new(resource_spans);
        let all = services.iter().map(String::as_str);
        let palette = Palette::new(all.chain(tree.services().into_iter().map(|(name, _)| name)));
        let view = View {
            site: &site,
            entries: Entries::new(&tree, !shows_all),
            shows_all,
            tab,
            is_stored: true,
            palette: &palette,
            tree: &tree,
            id,
            linked_from: LinkedFrom::new(id, &tree),
            from: from.unwrap_or(0),
        };
        let content = trace::trace(&view, kept.as_ref());
        let title = format!("Trace {}", text::short(id));
        (
            StatusCode::OK,
            site.document_with(Section::Traces, &title, "trace", content),
        )
    };
    console.render(render).await
}

/// A trace as a file in OTLP/JSON.
async fn download(site: &Site, spans: TraceSpans, turn: SemaphorePermit<'static>) -> Response {
    let id = spans.id;
    let encode = move || {
        let _turn = turn;
        to_otlp_json(&spans.resource_spans)
    };
    let failed = |error: BackendError| site.error(Section::Traces, &error);
    match tokio::task::spawn_blocking(encode).await {
        Ok(Ok(json)) => {
            let name = format!("attachment; filename=\"trace-{id}.json\"");
            let headers = [
                (header::CONTENT_TYPE, "application/json".to_owned()),
                (header::CONTENT_DISPOSITION, name),
            ];
            (headers, json).into_response()
        }
        Ok(Err(error)) => failed(BackendError::TooLarge(error.to_string())),
        Err(error) => failed(BackendError::Reach(format!(
            "cannot write the file: {error}"
        ))),
    }
}

fn invalid_id(site: &Site, id: &str, error: &InvalidTraceId) -> Response {
    let message = html! { p { code { (text::cut(id, 200)) } ": " (error) "." } };
    let page = site.notice(
        Section::Traces,
        "Invalid trace ID",
        "Invalid trace ID",
        message,
    );
    (StatusCode::BAD_REQUEST, page).into_response()
}

fn status(error: &BackendError) -> StatusCode {
    match error {
        BackendError::Validate(_) => StatusCode::BAD_REQUEST,
        BackendError::Find(_) => StatusCode::NOT_FOUND,
        BackendError::Refuse(_) => StatusCode::FORBIDDEN,
        BackendError::Conflict(_) => StatusCode::CONFLICT,
        BackendError::Reach(_) => StatusCode::SERVICE_UNAVAILABLE,
        BackendError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
    }
}
