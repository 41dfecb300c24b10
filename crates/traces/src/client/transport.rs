//! The way of requests to a query API.

use std::{error::Error, fmt::Debug};

use async_trait::async_trait;
use http::StatusCode;

/// The size at which reading a response stops: twice the longest that a lab sends. JSON that was cut
/// off is invalid.
pub const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The way of requests to a query API.
#[async_trait]
pub trait Transport: Debug + Send + Sync {
    /// Sends a GET request for a path with query parameters, which are not encoded yet. Returns the
    /// status and the body, up to the first piece that reaches [`MAX_RESPONSE_BYTES`]. Each request
    /// has a deadline.
    ///
    /// # Errors
    /// [`TransportError`] if there is no complete response.
    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<(StatusCode, Vec<u8>), TransportError>;
}

/// The reason why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Nothing listens at the address.
    #[error("nothing listens at the address")]
    NotRunning,
    /// The request failed.
    #[error("the request failed")]
    Failed(#[source] BoxError),
}
