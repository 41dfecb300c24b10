//! Keeps web pages away from the admin API: a browser sends `Origin` with what a foreign page
//! asks. That a rebound DNS name shows in `Host` is checked for every listener of the lab.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

use super::problem::Problem;

/// Refuses what does not come from a program on this machine.
pub(super) async fn local_programs_only(request: Request, next: Next) -> Response {
    if !request.headers().contains_key(header::ORIGIN) {
        return next.run(request).await;
    }
    let detail = "a request with an `Origin` header comes from a web page: the lab's API is for \
                  programs on this machine";
    Problem::new(StatusCode::FORBIDDEN, "Origin refused", detail).into_response()
}
