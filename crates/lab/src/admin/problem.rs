//! The error responses of the API. Each kind has a title, which is more specific than the name of
//! the status.

use http::StatusCode;

use crate::{policies::PolicyStoreError, wire::Problem};

/// An error response of this kind.
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

/// The response to a failure of the lab.
pub(super) fn internal(detail: String) -> Problem {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", detail)
}

/// The response to invalid policies.
fn invalid_policies(errors: Vec<String>) -> Problem {
    let count = match errors.len() {
        1 => "1 error".to_owned(),
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
