//! The lab's admin API, for programs on this machine.

mod converged;
mod documents;
mod faults;
mod guard;
mod policies;
mod problem;
mod scrape;
mod services;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod trace;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_fn,
    routing::{get, post},
};
pub(super) use policies::blocking;
use spoor_runtime::in_turn;
pub(super) use state::{Admin, Permits};

use crate::wire::MAX_BODY_BYTES;
use problem::{not_found, problem};

/// The response at the root path.
const ABOUT: &str =
    "The lab's API: GET /v1/status, /v1/policies, /v1/faults, /v1/scrape-targets, /metrics\n";

/// The routes under `/v1`, and `/healthz` and `/metrics`.
pub(super) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(async || ABOUT))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(status::metrics))
        .route("/v1/status", get(status::status))
        .route("/v1/scrape-targets", get(scrape::targets))
        .route(
            "/v1/policies",
            get(policies::list_all).post(policies::apply),
        )
        .route("/v1/policies/{namespace}", get(policies::list))
        .route(
            "/v1/policies/{namespace}/{name}",
            get(policies::one).delete(policies::delete),
        )
        .route("/v1/services/{service}/restart", post(services::restart))
        .route("/v1/diff", post(policies::diff))
        .route("/v1/faults", get(faults::list).delete(faults::clear_all))
        .route(
            "/v1/faults/{service}",
            post(faults::add).delete(faults::clear),
        )
        .fallback(async |uri: axum::http::Uri| not_found(uri.path()))
        .layer(from_fn(in_turn))
        // Not in turn: its requests may wait for minutes, and would delay the others.
        .route("/v1/converged", get(converged::converged))
        // Applies to the routes above only.
        .method_not_allowed_fallback(async || {
            let detail = "this path supports other methods; see the `Allow` header";
            let status = http::StatusCode::METHOD_NOT_ALLOWED;
            problem(status, "Method not allowed", detail)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        // The last layer is the outermost: a web page is refused before its body is read.
        .layer(from_fn(guard::local_programs_only))
        .layer(from_fn(trace::record))
        .with_state(admin)
}
