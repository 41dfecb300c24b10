//! Error responses (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

/// An error response, as `application/problem+json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the title and status tell the kind.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of failure.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The explanation, with what to do.
    pub detail: String,
    /// The errors in the submitted documents, as `FILE:LINE: field: message`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

impl Problem {
    /// Creates a response without a list of errors.
    #[must_use]
    pub fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: vec![],
        }
    }

    /// The response to invalid policies.
    #[must_use]
    pub fn invalid(errors: Vec<String>) -> Self {
        let detail = format!(
            "{} found; nothing was changed",
            counted(errors.len(), "error")
        );
        let invalid = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid policies", detail);
        Self { errors, ..invalid }
    }

    /// The response if something does not exist.
    #[must_use]
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Not found",
            format!("{what} not found"),
        )
    }

    /// The response to a request that conflicts with the current state.
    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response()
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}
