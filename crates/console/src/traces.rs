//! The web page: a search for traces, and a trace as a waterfall. It is rendered on the server and
//! needs no scripts; all text from spans and requests is escaped.

mod details;
mod filter;
mod form;
mod layout;
mod list_item;
mod palette;
mod results;
mod scatter;
mod text;
mod trace;
mod waterfall;

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    middleware::map_response,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{MethodRouter, get},
};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use maud::html;
use spoor_runtime::{LogLimit, page_headers};

use crate::{
    InvalidTraceId, TraceId,
    query::{Queries, limits::Reader, parameters::Parameters, response},
    service,
};
use filter::Filter;
use layout::Site;
use palette::Palette;

/// Allows the browser to load only the page's own style sheet and icon.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `/`, `/search`, `/trace`, `/trace/{id}` and their assets; a page with status 404 for any other
/// path.
pub fn router(queries: &Queries) -> Router {
    let style = asset("text/css; charset=utf-8", include_str!("page/style.css"));
    let icon = asset("image/svg+xml", include_str!("page/favicon.svg"));
    Router::new()
        .route("/", get(search))
        .route("/search", get(search))
        .route("/trace", get(by_id))
        .route("/trace/{id}", get(trace))
        .route("/style.css", style)
        .route("/favicon.svg", icon)
        .fallback(unknown_path)
        .layer(map_response(add_security_headers))
        .with_state(queries.clone())
}

async fn search(State(queries): State<Queries>, uri: Uri, parameters: Parameters) -> Response {
    let site = Site::of(&uri);
    render_page(&queries.searches(), move |reader| {
        let filter = Filter::read(&parameters);
        let palette = Palette::new(service::some_names(reader));
        let (status, results) = match results::results(&site, &filter, reader, &palette) {
            Ok(results) if filter.problems.is_empty() => (StatusCode::OK, results),
            Ok(problems) => (StatusCode::BAD_REQUEST, problems),
            Err(error) => (error.status(), results::refused(&error)),
        };
        let content = html! {
            (form::form(&site, &filter, reader, &palette.services))
            (results)
        };
        (status, site.document("Traces", content))
    })
    .await
}

async fn by_id(uri: Uri, parameters: Parameters) -> Response {
    let id = parameters.get("id").unwrap_or_default().trim();
    match id.parse::<TraceId>() {
        // Relative, since the page may be served under a prefix.
        Ok(id) => Redirect::to(&format!("trace/{id}")).into_response(),
        Err(error) => invalid_id(&Site::of(&uri), id, &error),
    }
}

async fn trace(
    State(queries): State<Queries>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    parameters: Parameters,
) -> Response {
    let site = Site::of(&uri);
    // Text that is not UTF-8 is an invalid trace ID too; the page says which IDs are valid.
    let id = id.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(id)| id);
    let id: TraceId = match id.parse() {
        Ok(id) => id,
        Err(error) => return invalid_id(&site, &id, &error),
    };
    let from = parameters.get("from").and_then(|from| from.parse().ok());
    render_page(&queries, move |reader| match reader.trace(id) {
        Ok(Some(found)) => {
            let palette = Palette::new(service::some_names(reader));
            let content = trace::trace(&site, &found, &palette, from.unwrap_or(0));
            let title = format!("Trace {}", text::short(id));
            (StatusCode::OK, site.document(&title, content))
        }
        Ok(None) => (StatusCode::NOT_FOUND, trace::missing(&site, id)),
        Err(error) => (error.status(), trace::refused(&site, &error)),
    })
    .await
}

fn asset(content_type: &'static str, content: &'static str) -> MethodRouter<Queries> {
    get(async move || ([(header::CONTENT_TYPE, content_type)], content))
}

async fn unknown_path(uri: Uri) -> Response {
    let message = html! {
        p { "No page has the path " code { (text::cut(uri.path(), 200)) } "." }
    };
    let page = Site::of(&uri).notice("Not found", "Page not found", message);
    (StatusCode::NOT_FOUND, page).into_response()
}

fn invalid_id(site: &Site, id: &str, error: &InvalidTraceId) -> Response {
    let message = html! { p { code { (text::cut(id, 200)) } ": " (error) "." } };
    let page = site.notice("Invalid trace ID", "Invalid trace ID", message);
    (StatusCode::BAD_REQUEST, page).into_response()
}

/// Renders a page within the bounds on queries, since a page may decode many spans.
async fn render_page(
    queries: &Queries,
    page: impl FnOnce(&Reader) -> (StatusCode, Html<String>) + Send + 'static,
) -> Response {
    let page = queries.run(move |reader| page(&reader)).await;
    let body = page.and_then(|(status, Html(page))| {
        let body = response::respond_with(queries, page.into_bytes())?;
        let kind = HeaderValue::from_static("text/html; charset=utf-8");
        Ok((status, [(header::CONTENT_TYPE, kind)], body).into_response())
    });
    body.unwrap_or_else(|error| {
        static WARNINGS: LogLimit = LogLimit::new();
        if let Some(suppressed) = WARNINGS.admit() {
            tracing::warn!(%error, suppressed, "cannot render the page");
        }
        (error.status(), error.to_string()).into_response()
    })
}

/// Adds the headers that restrict what a browser does with the page.
async fn add_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.extend(page_headers(CONTENT_SECURITY_POLICY, "no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let opener_policy = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener_policy, HeaderValue::from_static("same-origin"));
    response
}
