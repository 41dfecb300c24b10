//! The web page, on which a picture can be chosen and classified.

use axum::{Router, response::IntoResponse, routing::get};
use http::header;

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
        .route("/", get(async || asset("text/html; charset=utf-8", PAGE)))
        .route(
            "/page.css",
            get(async || asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/page.js",
            get(async || asset("text/javascript; charset=utf-8", SCRIPT)),
        )
}

fn asset(kind: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], body)
}
