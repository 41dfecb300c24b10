//! The style sheets, scripts and the icon.

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Uri, header};

use crate::console::{Console, unknown_path};

/// The paths and contents. A page has the style sheet of its section, and the style sheet and script
/// of its own, if they are in this list.
const ASSETS: &[(&str, &str)] = &[
    ("favicon.svg", include_str!("favicon.svg")),
    ("scripts/console.js", include_str!("scripts/console.js")),
    ("scripts/lessons.js", include_str!("scripts/lessons.js")),
    ("scripts/policies.js", include_str!("scripts/policies.js")),
    ("scripts/trace.js", include_str!("scripts/trace.js")),
    ("scripts/traces.js", include_str!("scripts/traces.js")),
    ("style.css", include_str!("style.css")),
    ("styles/controls.css", include_str!("styles/controls.css")),
    ("styles/lessons.css", include_str!("styles/lessons.css")),
    ("styles/policies.css", include_str!("styles/policies.css")),
    ("styles/services.css", include_str!("styles/services.css")),
    ("styles/traces.css", include_str!("styles/traces.css")),
];

/// The routes of all assets.
pub(crate) fn router() -> Router<Console> {
    Router::new()
        .route("/favicon.svg", get(asset))
        .route("/style.css", get(asset))
        .route("/scripts/{file}", get(asset))
        .route("/styles/{file}", get(asset))
}

/// Returns whether there is an asset with this path, given without a leading slash.
pub(crate) fn exists(path: &str) -> bool {
    content(path).is_some()
}

async fn asset(console: State<Console>, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    match content(path) {
        Some(content) => ([(header::CONTENT_TYPE, content_type(path))], content).into_response(),
        None => unknown_path(console, uri).await,
    }
}

fn content(path: &str) -> Option<&'static str> {
    let found = ASSETS.iter().find(|(of, _)| *of == path);
    found.map(|(_, content)| *content)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}
