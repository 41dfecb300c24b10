//! Gets a request's body into memory, within its bounds.

use std::io::Read;

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body::Body;
use http_body_util::BodyExt;

use super::{
    ReceiveSettings,
    memory::{Overloaded, Share},
};

/// Why a body can't be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {max} bytes: send smaller batches")]
    TooLarge { max: usize },
    #[error("the body, decompressed, is larger than {max} bytes: send smaller batches")]
    TooLargeDecompressed { max: usize },
    #[error("the body was not sent within {} s", after.as_secs_f64())]
    TimedOut { after: std::time::Duration },
    #[error("the body broke off: {0}")]
    Aborted(Box<dyn std::error::Error + Send + Sync>),
    #[error("the body is no valid gzip: {0}")]
    Gzip(std::io::Error),
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
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

/// Decompresses, never to more than the bound.
pub(super) fn gunzip(
    compressed: &[u8],
    settings: &ReceiveSettings,
    share: &mut Share,
) -> Result<Bytes, BodyError> {
    let max = settings.max_body_bytes;
    let mut decoder = MultiGzDecoder::new(compressed);
    let mut all = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = decoder.read(&mut chunk).map_err(BodyError::Gzip)?;
        if count == 0 {
            return Ok(all.into());
        }
        if all.len() + count > max {
            return Err(BodyError::TooLargeDecompressed { max });
        }
        share.grow(count)?;
        all.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

const CHUNK: usize = 64 << 10;

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
