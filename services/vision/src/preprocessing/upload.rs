//! Reads what is uploaded, within what all uploads together may take.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The longest body: a photograph of a good camera.
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;
/// What is read of a longer one, so that who sends it comes to read the answer.
const MOST_IGNORED: usize = 4 * MOST_BYTES;

/// Memory for uploads and pictures, in bytes: a part is taken for as long as it is used.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Part {
    _permit: OwnedSemaphorePermit,
}

/// A body that came whole.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) bytes: Bytes,
    pub(super) memory: Part,
}

/// Why it did not.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the body is longer than {MOST_BYTES} bytes: send a smaller picture")]
    TooLong,
    #[error("too many pictures are being sent; try again in a moment")]
    NoMemory,
    #[error("the body took too long to come")]
    Slow,
    #[error("the body did not come to its end")]
    Cut(#[source] axum::Error),
}

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Waits until so much is free; more than there is at all is never asked for.
    pub(super) async fn take(&self, bytes: u64) -> Option<Part> {
        let bytes = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()?;
        Some(Part { _permit: permit })
    }

    /// Reads a body, and takes memory as it comes.
    pub(super) async fn read(&self, mut body: Body) -> Result<Upload, UploadError> {
        let read = self.read_all(&mut body).await;
        if matches!(read, Err(UploadError::TooLong | UploadError::NoMemory)) {
            ignore(body).await;
        }
        read
    }

    async fn read_all(&self, body: &mut Body) -> Result<Upload, UploadError> {
        let mut held = self.now(0)?;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(UploadError::Cut)?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > MOST_BYTES {
                return Err(UploadError::TooLong);
            }
            held.merge(self.now(data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok(Upload {
            bytes: bytes.freeze(),
            memory: Part { _permit: held },
        })
    }

    fn now(&self, bytes: usize) -> Result<OwnedSemaphorePermit, UploadError> {
        let many = u32::try_from(bytes).map_err(|_| UploadError::TooLong)?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(many);
        permit.map_err(|error: TryAcquireError| {
            tracing::debug!(%error, bytes, "no memory for an upload");
            UploadError::NoMemory
        })
    }
}

/// Reads on without keeping anything: an answer to somebody who still sends gets lost.
async fn ignore(mut body: Body) {
    let mut left = MOST_IGNORED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
