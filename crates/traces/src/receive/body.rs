//! Reads a request's body into memory, within bounds.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue},
};
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;
use spoor_runtime::Compression;

use super::error::ReceiveError;
use crate::{ReceiveSettings, memory::Reservation};

/// The capacity with which a body of several frames begins, unless its announced length is shorter
/// or missing.
const MIN_RESERVED_BYTES: usize = 64 << 10;

/// Reads a body of at most `max` bytes to its end.
pub(super) async fn read(
    body: &mut Body,
    max: usize,
    settings: &ReceiveSettings,
    reservation: &mut Reservation,
) -> Result<Bytes, ReceiveError> {
    // A body whose announced length is too large is refused before it is read.
    if body.size_hint().lower() > max as u64 {
        return Err(ReceiveError::TooLarge { max });
    }
    with_timeout(settings.body_deadline, collect(body, max, reservation)).await
}

async fn with_timeout<T>(
    after: Duration,
    reading: impl Future<Output = Result<T, ReceiveError>>,
) -> Result<T, ReceiveError> {
    let read = tokio::time::timeout(after, reading).await;
    read.unwrap_or(Err(ReceiveError::TimedOut { after }))
}

async fn collect(
    body: &mut Body,
    max: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, ReceiveError> {
    let expected = body.size_hint().exact().unwrap_or(0) as usize;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(ReceiveError::Aborted)?.into_data() else {
            continue;
        };
        if all.len() + data.len() > max {
            return Err(ReceiveError::TooLarge { max });
        }
        reservation.grow(data.len())?;
        // Often there is only one frame, which needs no copy.
        if all.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if all.len() + data.len() > all.capacity() {
            // Doubles up to the announced length, which may be false: a kernel with huge pages may
            // back each reservation with 2 MiB at its first byte.
            let missing = expected.min(max).saturating_sub(all.len());
            all.reserve(missing.min(all.len().max(MIN_RESERVED_BYTES)));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

/// The compression that a header names; `Identity` if the header is absent.
pub(super) fn compression(
    headers: &HeaderMap,
    header: &'static str,
) -> Result<Compression, ReceiveError> {
    let name = headers.get(header);
    let name = name.map_or(&b""[..], HeaderValue::as_bytes);
    Compression::named(name).ok_or_else(|| ReceiveError::Compression {
        header,
        name: String::from_utf8_lossy(name).into_owned(),
    })
}

/// Reads and discards the rest of a refused body, within bounds, so that a sender that is still
/// sending it can read the response.
pub(super) async fn drain_rest(mut body: Body, settings: ReceiveSettings) {
    let max = settings.max_body_bytes.saturating_mul(MAX_DRAINED_BODIES);
    // Beyond either bound, the connection is closed, which is then intended.
    let _ = drain(&mut body, max, settings.body_deadline).await;
}

/// The most bytes drained, as a multiple of the longest body accepted.
const MAX_DRAINED_BODIES: usize = 8;

/// Reads and discards a body of at most `max` bytes.
pub(super) async fn drain(
    body: &mut Body,
    max: usize,
    deadline: Duration,
) -> Result<(), ReceiveError> {
    let draining = async {
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(ReceiveError::Aborted)?;
            size += frame.data_ref().map_or(0, Buf::remaining);
            if size > max {
                return Err(ReceiveError::TooLarge { max });
            }
        }
        Ok(())
    };
    with_timeout(deadline, draining).await
}
