//! Protection of the admin API from web pages: browsers send `Origin` with every request that can
//! change something, and with those whose responses another site's page could read. Against DNS
//! rebinding, every listener of the lab checks `Host`.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};

use super::problem::problem;

/// Refuses requests from web pages.
pub(super) async fn local_programs_only(request: Request, next: Next) -> Response {
    if !request.headers().contains_key(header::ORIGIN) {
        return next.run(request).await;
    }
    let detail = "requests with an `Origin` header are refused, since the lab's API is not for web \
                  pages";
    problem(StatusCode::FORBIDDEN, "Origin refused", detail).into_response()
}
