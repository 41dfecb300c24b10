//! Reads a request body within limits.

use std::time::Duration;

use axum::body::{Body, Bytes};
use spoor_runtime::{Compression, DecompressError};

/// The largest body accepted, once decompressed.
///
/// Enough for the counts of several hundred processes. No more, since messages can take fifty
/// times their size once decoded.
const MAX_BODY_BYTES: usize = 512 * 1024;

/// The longest time that a body may take to arrive.
const MAX_BODY_TIME: Duration = Duration::from_secs(5);

/// The reason why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("body is larger than {MAX_BODY_BYTES} bytes; send smaller batches")]
    TooLarge,
    #[error("body did not arrive within {} s", MAX_BODY_TIME.as_secs())]
    TimedOut,
    #[error("body ended early: {0}")]
    Aborted(#[source] axum::Error),
    #[error(transparent)]
    Compressed(#[from] DecompressError),
}

impl BodyError {
    pub(super) fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::Compressed(DecompressError::TooLarge { .. })
        )
    }
}

/// Reads and decompresses a body.
pub(super) async fn read(body: Body, compression: Compression) -> Result<Bytes, BodyError> {
    let read = axum::body::to_bytes(body, MAX_BODY_BYTES);
    let read = tokio::time::timeout(MAX_BODY_TIME, read).await;
    let as_sent = read.map_err(|_| BodyError::TimedOut)?.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        match is_too_large {
            true => BodyError::TooLarge,
            false => BodyError::Aborted(error),
        }
    })?;
    compression.decompress(as_sent, MAX_BODY_BYTES, |_| Ok(()))
}
