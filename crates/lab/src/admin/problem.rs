//! The error responses of the API. Each kind has a title, which is usually more specific than the
//! name of the status.

use http::{HeaderMap, StatusCode, header};

use crate::{
    policies::{MAX_ERRORS, PolicyStoreError},
    wire::{MAX_BODY_BYTES, Problem},
};

/// Creates an error response.
pub(super) fn problem(
    status: StatusCode,
    title: &'static str,
    detail: impl Into<String>,
) -> Problem {
    Problem::new(status, detail).with_title(title)
}

/// The response if something does not exist.
pub(super) fn not_found(what: impl std::fmt::Display) -> Problem {
    let detail = format!("{what} not found");
    problem(StatusCode::NOT_FOUND, "Not found", detail)
}

/// The response to a request that conflicts with the current state.
pub(super) fn conflict(detail: impl Into<String>) -> Problem {
    problem(StatusCode::CONFLICT, "Conflict", detail)
}

/// The response to a name in the path that is not valid.
pub(super) fn invalid_name(detail: String) -> Problem {
    problem(StatusCode::BAD_REQUEST, "Invalid name", detail)
}

/// The response to a body of more than [`MAX_BODY_BYTES`].
pub(super) fn body_too_large() -> Problem {
    too_large(format!("send at most {} MiB at once", MAX_BODY_BYTES >> 20))
}

/// The response to a body that is too large, has too many documents, or has one that is too large.
pub(super) fn too_large(detail: String) -> Problem {
    problem(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail)
}

/// Refuses a compressed body, which would otherwise seem to have the wrong form.
pub(super) fn refuse_compressed(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding.as_bytes() != b"identity" => {
            let detail = "compressed bodies are not supported; send the body without the header \
                          Content-Encoding";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            Err(problem(status, "Unsupported encoding", detail))
        }
        _ => Ok(()),
    }
}

/// The response to a failure of the lab.
pub(super) fn internal(detail: String) -> Problem {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
}

/// The response to invalid policies.
fn invalid_policies(errors: Vec<String>) -> Problem {
    let count = match errors.len() {
        1 => "1 error".to_owned(),
        several if several > MAX_ERRORS => format!("more than {MAX_ERRORS} errors"),
        several => format!("{several} errors"),
    };
    let detail = format!("{count} found; nothing was changed");
    problem(StatusCode::UNPROCESSABLE_ENTITY, "Invalid policies", detail).with_errors(errors)
}

impl From<PolicyStoreError> for Problem {
    fn from(error: PolicyStoreError) -> Self {
        match error {
            PolicyStoreError::Validate(errors) => invalid_policies(errors),
            PolicyStoreError::Find { .. } => {
                problem(StatusCode::NOT_FOUND, "Not found", error.to_string())
            }
            PolicyStoreError::DeleteFromFolder { .. } => conflict(error.to_string()),
            PolicyStoreError::Save(_) => internal(spoor_runtime::with_causes(&error)),
        }
    }
}
