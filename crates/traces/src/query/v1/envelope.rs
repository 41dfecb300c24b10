//! The envelope of every response of version 1.

use std::{cell::RefCell, rc::Rc};

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Serialize, Serializer};

use crate::{TraceId, query::limits::TraceQueryError};

/// `{data, total, limit, offset, errors}`.
#[derive(Debug, Serialize)]
pub struct Envelope<T> {
    data: Option<T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: V1Errors,
}

/// The entries of `errors`, or null. Clones share them, since missing data is known only when the
/// data has been written.
#[derive(Clone, Debug, Default)]
pub struct V1Errors(Rc<RefCell<Vec<V1Error>>>);

impl V1Errors {
    /// Adds an entry.
    pub fn push(&self, error: V1Error) {
        self.0.borrow_mut().push(error);
    }
}

impl Serialize for V1Errors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let errors = self.0.borrow();
        match errors.as_slice() {
            [] => serializer.serialize_none(),
            errors => errors.serialize(serializer),
        }
    }
}

/// An entry of `errors`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct V1Error {
    #[serde(skip_serializing_if = "is_zero")]
    code: u16,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

impl<T> Envelope<T> {
    /// A response; Jaeger leaves `total` at 0 for traces and dependencies.
    pub fn of(data: T) -> Self {
        Self {
            data: Some(data),
            total: 0,
            limit: 0,
            offset: 0,
            errors: V1Errors::default(),
        }
    }

    /// Sets the entries of `errors`.
    pub fn errors(self, errors: V1Errors) -> Self {
        Self { errors, ..self }
    }
}

impl<T> Envelope<Vec<T>> {
    /// A response with the number of its entries.
    pub fn list(data: Vec<T>) -> Self {
        Self {
            total: data.len(),
            ..Self::of(data)
        }
    }
}

impl V1Error {
    /// An error of the whole request.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code: status.as_u16(),
            ..Self::missing(message, None)
        }
    }

    /// An entry about missing data.
    pub fn missing(message: impl Into<String>, trace: Option<TraceId>) -> Self {
        Self {
            code: 0,
            msg: message.into(),
            trace_id: trace.map(|id| id.to_string()),
        }
    }

    /// An entry about a trace that is not stored; the code is 0 if other traces may be returned.
    pub fn not_found(code: u16, id: TraceId) -> Self {
        Self {
            code,
            ..Self::missing("trace not found", Some(id))
        }
    }
}

/// A message without a status describes an invalid parameter.
impl From<String> for V1Error {
    fn from(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<TraceQueryError> for V1Error {
    fn from(error: TraceQueryError) -> Self {
        Self::new(error.status(), error.to_string())
    }
}

impl IntoResponse for V1Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let errors = V1Errors::default();
        errors.push(self);
        let body = Envelope {
            data: None,
            ..Envelope::of(()).errors(errors)
        };
        (status, Json(body)).into_response()
    }
}

// serde requires a reference.
fn is_zero(code: &u16) -> bool {
    *code == 0
}
