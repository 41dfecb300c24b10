//! Unary calls within a deadline.

use std::time::Duration;

use tonic::{Request, Response, Status};

/// Makes a call within a deadline, which includes connecting.
///
/// # Errors
/// The status of the service, or `DEADLINE_EXCEEDED`.
pub async fn within<M, R>(
    deadline: Duration,
    message: M,
    call: impl AsyncFnOnce(Request<M>) -> Result<Response<R>, Status>,
) -> Result<R, Status> {
    let mut request = Request::new(message);
    // Sent as `grpc-timeout`, so that the service stops as well after the deadline.
    request.set_timeout(deadline);
    // The channel applies that timeout too, but not to connecting.
    match tokio::time::timeout(deadline, call(request)).await {
        Ok(response) => response.map(Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded(format!(
            "no response within {deadline:.1?}"
        ))),
    }
}
