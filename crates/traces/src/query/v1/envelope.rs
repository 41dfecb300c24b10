//! What every answer of the first API is wrapped in.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

/// `{data, total, limit, offset, errors}`.
#[derive(Debug, Serialize)]
pub struct Envelope<T> {
    data: Option<T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<Fault>>,
}

/// An entry of `errors`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    #[serde(skip_serializing_if = "is_zero")]
    code: u16,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl<T: Serialize> Envelope<T> {
    /// An answer; Jaeger leaves `total` at 0 for traces and dependencies.
    pub fn of(data: T) -> Self {
        Self {
            data: Some(data),
            total: 0,
            limit: 0,
            offset: 0,
            errors: None,
        }
    }

    /// With the number of entries.
    pub fn total(mut self, total: usize) -> Self {
        self.total = total;
        self
    }

    /// With what could not be found.
    pub fn errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = (!errors.is_empty()).then_some(errors);
        self
    }
}

impl Fault {
    /// The whole request failed.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code: status.as_u16(),
            msg: message.into(),
            trace_id: None,
        }
    }

    /// A trace that is not there.
    pub fn not_found(status: Option<StatusCode>, trace_id: String) -> Self {
        Self {
            code: status.map_or(0, |status| status.as_u16()),
            msg: "trace not found".to_owned(),
            trace_id: Some(trace_id),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Envelope::<()> {
            data: None,
            total: 0,
            limit: 0,
            offset: 0,
            errors: Some(vec![self]),
        };
        (status, Json(body)).into_response()
    }
}

// serde asks for a reference.
fn is_zero(code: &u16) -> bool {
    *code == 0
}
