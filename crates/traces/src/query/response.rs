//! Response bodies: JSON is built within its bound, and each body is kept until it is sent.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use super::limits::{MAX_RESPONSE_BYTES, MAX_SEND_TIME, Queries, TraceQueryError};

/// The bytes reserved for the JSON after a truncated list.
const RESERVED_TAIL_BYTES: usize = 256 << 10;
/// A longer body is handed to its connection in pieces of this length.
const PIECE_BYTES: usize = 64 << 10;
/// The time after which a refused client should try again.
const RETRY_AFTER_SECONDS: &str = "5";

/// The response to a query that was refused.
pub fn refused<E: From<TraceQueryError> + IntoResponse>(error: TraceQueryError) -> Response {
    let is_busy = error == TraceQueryError::Busy;
    let mut response = E::from(error).into_response();
    if is_busy {
        let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// A response with this body. A body longer than a piece counts as unsent until its last piece is
/// handed to the connection, or until it ends because its client is too slow.
pub fn respond_with(queries: &Queries, bytes: Vec<u8>) -> Result<Response, TraceQueryError> {
    respond_within(MAX_SEND_TIME, queries, bytes)
}

fn respond_within(
    time: Duration,
    queries: &Queries,
    bytes: Vec<u8>,
) -> Result<Response, TraceQueryError> {
    if bytes.len() <= PIECE_BYTES {
        return Ok(Body::from(bytes).into_response());
    }
    // Lets a client that tolerates a missing last chunk detect a truncated body, too.
    let length = HeaderValue::from(bytes.len());
    let unsent = queries.reserve_unsent(bytes.len())?;
    let end = Instant::now() + time;
    // Each piece is a copy, so that one in the connection's buffer does not keep the whole body in
    // memory.
    let pieces = (0..bytes.len()).step_by(PIECE_BYTES).map(move |sent| {
        if Instant::now() > end {
            return too_slow();
        }
        let rest = bytes.get(sent..).unwrap_or_default();
        let piece = rest.get(..PIECE_BYTES).unwrap_or(rest);
        Ok(Bytes::copy_from_slice(piece))
    });
    let body = Body::from_stream(unsent.hold(tokio_stream::iter(pieces), too_slow));
    Ok(([(header::CONTENT_LENGTH, length)], body).into_response())
}

/// The error that ends a body that its client does not read in time. A normal end would make a
/// truncated response look complete.
fn too_slow() -> io::Result<Bytes> {
    Err(io::ErrorKind::TimedOut.into())
}

/// The body of a response while it is built, no longer than its bound. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Buffer(Rc<RefCell<Building>>);

#[derive(Debug, Default)]
struct Building {
    bytes: Vec<u8>,
    /// The number of bytes that must stay free.
    reserved: usize,
    is_full: bool,
    /// The traces written.
    traces: usize,
    error: Option<TraceQueryError>,
}

impl Buffer {
    /// Writes a trace. If it does not fit, the buffer is unchanged, and the result is false.
    ///
    /// # Errors
    /// Any other reason why it cannot be written.
    pub fn write_trace<E>(&self, write: impl FnOnce() -> Result<(), E>) -> Result<bool, E> {
        let start = self.0.borrow().bytes.len();
        self.0.borrow_mut().reserved = RESERVED_TAIL_BYTES;
        let written = write();
        let mut building = self.0.borrow_mut();
        building.reserved = 0;
        match written {
            Err(_) if building.is_full => {
                building.is_full = false;
                // serde has already written part of the trace.
                building.bytes.truncate(start);
                Ok(false)
            }
            Err(error) => Err(error),
            Ok(()) => {
                building.traces += 1;
                Ok(true)
            }
        }
    }

    /// The number of traces written.
    pub fn traces(&self) -> usize {
        self.0.borrow().traces
    }

    /// Records the reason for refusing the whole response, and returns the error that ends its
    /// encoding.
    pub fn refuse<E: serde::ser::Error>(&self, error: TraceQueryError) -> E {
        let refused = E::custom(&error);
        self.0.borrow_mut().error = Some(error);
        refused
    }

    /// Encodes a result as JSON.
    ///
    /// # Errors
    /// The reason why it cannot be written.
    pub fn encode(&self, result: &impl Serialize, pretty: bool) -> Result<(), TraceQueryError> {
        let encoded = if pretty {
            let formatter = PrettyFormatter::with_indent(b"    ");
            result.serialize(&mut serde_json::Serializer::with_formatter(self, formatter))
        } else {
            serde_json::to_writer(self, result)
        };
        encoded.map_err(|error| {
            let mut building = self.0.borrow_mut();
            match building.error.take() {
                Some(error) => error,
                None if building.is_full => TraceQueryError::ResponseTooLarge,
                None => TraceQueryError::Failed(error.to_string()),
            }
        })
    }

    /// The bytes that were written.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().bytes)
    }
}

impl Write for &Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut building = self.0.borrow_mut();
        if building.bytes.len() + bytes.len() + building.reserved > MAX_RESPONSE_BYTES {
            building.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        building.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use http_body_util::BodyExt;

    use http::StatusCode;

    use super::{MAX_RESPONSE_BYTES, PIECE_BYTES, refused, respond_with, respond_within};
    use crate::{
        TraceStore,
        query::{Queries, TraceQueryError, v1, v3},
    };

    #[test]
    fn busy_response_has_retry_after() {
        for response in [
            refused::<v1::V1Error>(TraceQueryError::Busy),
            refused::<v3::V3Error>(TraceQueryError::Busy),
        ] {
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], "5");
        }
        let too_large = refused::<v1::V1Error>(TraceQueryError::ResponseTooLarge);
        assert!(!too_large.headers().contains_key("retry-after"));
    }

    #[tokio::test]
    async fn slowly_read_body_is_cut_off() {
        let queries = Queries::new(TraceStore::new(1 << 20));
        let body = vec![b'x'; 100 * PIECE_BYTES];
        let time = Duration::from_millis(1);
        let mut body = respond_within(time, &queries, body).unwrap().into_body();
        // It ends with an error, so that it does not look complete.
        let mut pieces = 0;
        while body.frame().await.unwrap().is_ok() {
            pieces += 1;
            assert!(pieces < 100);
            tokio::time::sleep(10 * time).await;
        }
    }

    #[tokio::test]
    async fn unread_body_is_aborted_to_make_room() {
        let queries = Queries::new(TraceStore::new(1 << 20));
        let body = || respond_with(&queries, vec![b'x'; MAX_RESPONSE_BYTES]);
        let unread = [body().unwrap(), body().unwrap()];
        assert!(body().is_err());
        let room = async {
            while body().is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let room = tokio::time::timeout(Duration::from_secs(30), room);
        assert!(room.await.is_ok());
        let [longest, other] = unread.map(|it| it.into_body().collect());
        assert!(longest.await.is_err());
        assert_eq!(other.await.unwrap().to_bytes().len(), MAX_RESPONSE_BYTES);
    }

    #[tokio::test]
    async fn read_body_is_complete() {
        let queries = Queries::new(TraceStore::new(1 << 20));
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let sent = respond_with(&queries, vec![b'x'; length]).unwrap();
            let bytes = sent.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes.len(), length);
        }
    }
}
