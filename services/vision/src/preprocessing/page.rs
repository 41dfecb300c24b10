//! The web page, on which a picture can be chosen and classified.

use axum::{Router, response::Html, routing::get};
use spoor_telemetry::http::assets;

use super::classify::Classifier;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = concat!(
    include_str!("../../../palette.css"),
    include_str!("page.css")
);
const SCRIPT: &str = include_str!("page.js");

/// Allows resources from this host, and `blob:` to show the chosen picture.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; img-src 'self' blob:; form-action 'none'; frame-ancestors 'none'; \
    base-uri 'none'";

pub(super) fn router() -> Router<Classifier> {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .merge(assets([
            ("/page.css", "text/css; charset=utf-8", STYLE),
            ("/page.js", "text/javascript; charset=utf-8", SCRIPT),
        ]))
}
