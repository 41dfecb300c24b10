//! Gets a body into memory, within its bounds.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::body::{Body, Bytes};
use flate2::read::MultiGzDecoder;

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
    #[error("the body is no valid gzip: {0}")]
    Gzip(#[source] io::Error),
}

pub(super) async fn read(body: Body) -> Result<Bytes, BodyError> {
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

pub(super) fn gunzip(compressed: &[u8]) -> Result<Bytes, BodyError> {
    let mut all = vec![];
    let mut decoder = MultiGzDecoder::new(compressed).take(MAX as u64 + 1);
    decoder.read_to_end(&mut all).map_err(BodyError::Gzip)?;
    match all.len() <= MAX {
        true => Ok(all.into()),
        false => Err(BodyError::TooLarge),
    }
}
