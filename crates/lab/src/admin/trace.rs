//! The spans of the admin API's requests, among the traces that the lab records of its own work.

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use spoor_runtime::self_tracing::record_error;
use tracing::{Instrument, field::Empty};

/// The longest path or method that is recorded, in bytes. The SDK does not limit texts, and exports up
/// to 512 spans in one request, which a receiver refuses as a whole if it is too large.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// Records a request with the attributes of OpenTelemetry's conventions for HTTP servers.
pub(super) async fn record(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(|route| route.as_str().to_owned());
    let method = truncated(request.method().as_str());
    let span = tracing::info_span!(
        "request",
        otel.name = route
            .as_deref()
            .map_or_else(|| method.to_owned(), |route| format!("{method} {route}")),
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        http.request.method = method,
        http.route = route,
        url.path = truncated(request.uri().path()),
        http.response.status_code = Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    // OpenTelemetry's conventions leave the status of a server's span unset for a 4xx response, since
    // the error is the client's.
    if response.status().is_server_error() {
        record_error(&span, response.status().as_str());
    }
    response
}

fn truncated(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_truncated() {
        let long = "éa".repeat(1000);
        assert_eq!(truncated(&long).len(), 1023);
        assert_eq!(truncated("/policies"), "/policies");
    }
}
