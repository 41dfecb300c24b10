//! Reading of uploads, within a memory limit for all of them.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use spoor_telemetry::http::discard;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The largest body accepted: enough for a photograph from a good camera.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most bytes that are read and discarded from a larger body, so that the client reads the
/// response.
const MAX_DISCARDED_BYTES: usize = 4 * MAX_BODY_BYTES;

/// A budget of memory in bytes, parts of which are reserved for uploads and pictures.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// A reserved part of the memory, released when dropped.
type Part = OwnedSemaphorePermit;

/// The error of reading a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("the body is longer than {MAX_BODY_BYTES} bytes; send a smaller picture")]
    TooLong,
    #[error("too many pictures are being sent; try again in a moment")]
    NoMemory,
    #[error("the body took too long to arrive")]
    Timeout,
    #[error("the body is incomplete")]
    Incomplete(#[source] axum::Error),
}

impl Memory {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Waits until this much is free and reserves it. Callers never need more than the whole budget.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<Part> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()
    }

    /// Reads a body and reserves memory as it arrives. Returns the complete body with its memory.
    pub(super) async fn read(&self, mut body: Body) -> Result<(Bytes, Part), UploadError> {
        let read = self.read_all(&mut body).await;
        if matches!(read, Err(UploadError::TooLong | UploadError::NoMemory)) {
            discard(body, MAX_DISCARDED_BYTES).await;
        }
        read
    }

    async fn read_all(&self, body: &mut Body) -> Result<(Bytes, Part), UploadError> {
        // An empty permit, into which the permits of the chunks are merged.
        let mut held = self.try_reserve(0)?;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            // Trailers are skipped.
            let Ok(data) = frame.map_err(UploadError::Incomplete)?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(UploadError::TooLong);
            }
            held.merge(self.try_reserve(data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), held))
    }

    fn try_reserve(&self, bytes: usize) -> Result<Part, UploadError> {
        let many = u32::try_from(bytes).map_err(|_| UploadError::TooLong)?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(many);
        permit.map_err(|error: TryAcquireError| {
            tracing::debug!(%error, bytes, "no memory for an upload");
            UploadError::NoMemory
        })
    }
}
