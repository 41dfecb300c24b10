//! Errors of sending load.

use spoor_vision::samples::EncodeError;

/// The error of sending load. Nothing was sent, except with [`DriveError::JoinConnection`] and
/// [`DriveError::CollectResults`].
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// A request could not be built, since its path is not valid.
    #[error("cannot request the path {path}")]
    BuildRequest {
        /// The invalid path.
        path: String,
        /// The cause.
        source: http::Error,
    },
    /// An image to send could not be drawn.
    #[error("cannot draw the images to send")]
    DrawImage(#[from] EncodeError),
    /// The histogram of latencies could not be created.
    #[error("cannot create the histogram of latencies: {0}")]
    CreateHistogram(#[from] hdrhistogram::CreationError),
    /// The address accepts no connections.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The address.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The task of a connection failed.
    #[error("a connection's task failed: {0}")]
    JoinConnection(#[source] tokio::task::JoinError),
    /// A connection's task was still running at the end.
    #[error("a connection's task did not end")]
    CollectResults,
}
