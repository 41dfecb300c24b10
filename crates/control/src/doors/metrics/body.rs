//! Gets a body into memory, within its bounds.

use std::time::Duration;

use axum::body::{Body, Bytes};
use spoor_runtime::{Compression, DecompressError};

/// Enough for the counts of several hundred processes. Small, since the smallest messages grow
/// by fifty times when they are decoded.
const MAX: usize = 512 * 1024;
const WITHIN: Duration = Duration::from_secs(5);

/// Why a body can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {MAX} bytes: send smaller batches")]
    TooLarge,
    #[error("the body was not sent within {} s", WITHIN.as_secs())]
    TimedOut,
    #[error("the body broke off: {0}")]
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

/// Reads a body to its end, and decompresses it.
pub(super) async fn read(body: Body, compression: Compression) -> Result<Bytes, BodyError> {
    compression.decompress(as_sent(body).await?, MAX, |_| Ok(()))
}

async fn as_sent(body: Body) -> Result<Bytes, BodyError> {
    let read = tokio::time::timeout(WITHIN, axum::body::to_bytes(body, MAX)).await;
    read.map_err(|_| BodyError::TimedOut)?.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        match is_too_large {
            true => BodyError::TooLarge,
            false => BodyError::Aborted(error),
        }
    })
}
