//! Gets a request's body into memory, within its bounds.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use spoor_runtime::{Compression, DecompressError};

use super::settings::ReceiveSettings;
use crate::{
    memory::{OutOfMemory, Share},
    metrics::Refusal,
};

/// Failure to get a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {max} bytes: send smaller batches")]
    TooLarge { max: usize },
    #[error("the body was not sent within {} s", after.as_secs_f64())]
    TimedOut { after: std::time::Duration },
    #[error("the body broke off: {0}")]
    Aborted(Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Compressed(#[from] DecompressError),
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl BodyError {
    /// The reason under which the refusal is counted.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge { .. }
            | Self::Compressed(DecompressError::TooLarge { .. })
            | Self::OutOfMemory(OutOfMemory::RequestTooLarge) => Refusal::TooLarge,
            Self::TimedOut { .. } => Refusal::TimedOut,
            Self::Aborted(_) => Refusal::Aborted,
            Self::Compressed(DecompressError::Invalid(_)) => Refusal::BadData,
            Self::OutOfMemory(OutOfMemory::Overloaded) => Refusal::Overloaded,
        }
    }
}

/// Reads a body to its end.
pub(super) async fn read<B>(
    body: &mut B,
    settings: &ReceiveSettings,
    share: &mut Share,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let max = settings.max_body_bytes;
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge { max });
    }
    let after = settings.body_deadline;
    match tokio::time::timeout(after, collect(body, max, share)).await {
        Ok(read) => read,
        Err(_) => Err(BodyError::TimedOut { after }),
    }
}

async fn collect<B>(body: &mut B, max: usize, share: &mut Share) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let expected = body.size_hint().exact().unwrap_or(0) as usize;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Aborted(error.into()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if all.len() + data.len() > max {
            return Err(BodyError::TooLarge { max });
        }
        share.grow(data.len())?;
        // Often the only one: then nothing is copied.
        if all.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if all.is_empty() {
            all.reserve(expected.min(max));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// Decompresses a body, counting each piece before the next one is made.
pub(super) fn decompress(
    body: Bytes,
    compression: Compression,
    settings: &ReceiveSettings,
    share: &mut Share,
) -> Result<Bytes, BodyError> {
    compression.decompress(
        body,
        settings.max_body_bytes,
        |bytes| Ok(share.grow(bytes)?),
    )
}

/// Reads on for a while and forgets, so that a sender in the middle of a body that was refused
/// gets to read why.
pub(super) async fn discard<B>(mut body: B, settings: ReceiveSettings)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut left = settings.max_body_bytes.saturating_mul(BODIES_TO_DISCARD);
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Buf::remaining);
            left = match left.checked_sub(len) {
                Some(left) => left,
                None => break,
            };
        }
    };
    // When the time is up the connection is closed, which is what is wanted then.
    let _ = tokio::time::timeout(settings.body_deadline, reading).await;
}

const BODIES_TO_DISCARD: usize = 8;

/// Reads a body to its end and keeps nothing of it. Returns its size.
pub(super) async fn skim<B>(body: &mut B, settings: &ReceiveSettings) -> Result<usize, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (max, after) = (settings.max_body_bytes, settings.body_deadline);
    let skimming = async {
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| BodyError::Aborted(error.into()))?;
            size += frame.data_ref().map_or(0, Buf::remaining);
            if size > max {
                return Err(BodyError::TooLarge { max });
            }
        }
        Ok(size)
    };
    let skimmed = tokio::time::timeout(after, skimming).await;
    skimmed.unwrap_or(Err(BodyError::TimedOut { after }))
}
