//! Draining of the request's body, if the handler did not read all of it.
//!
//! When a connection is closed while its client is still sending, the response may be lost, and the
//! client reports a broken pipe instead of the error in the response.

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use http::header::EXPECT;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// The most bytes that are read and discarded. A client that sends more may lose the response.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;
/// The longest time spent on reading them.
const MAX_DISCARD_TIME: Duration = Duration::from_secs(1);

/// Reads the rest of the body, within bounds, after the handler has responded, so that the client
/// reads the response.
pub(super) async fn drain_unread_body(request: Request, next: Next) -> Response {
    let is_empty = request.body().is_end_stream();
    // A client that waits for `100 Continue` does not send a body that is refused.
    let expects_continue = request.headers().contains_key(EXPECT);
    if is_empty || expects_continue {
        return next.run(request).await;
    }
    let unread = UnreadBody::default();
    let request = request.map(|body| {
        let unread = Arc::clone(&unread);
        Body::new(ReclaimableBody { body, unread })
    });
    let response = next.run(request).await;
    let body = unread.lock().take();
    if let Some(body) = body {
        // A slower client may lose the response.
        let discarded = discard(body, MAX_DISCARDED_BYTES);
        let _ = tokio::time::timeout(MAX_DISCARD_TIME, discarded).await;
    }
    response
}

/// A body that the handler did not read to the end.
type UnreadBody = Arc<Mutex<Option<Body>>>;

/// A body that moves to [`UnreadBody`] when the handler drops it before its end.
struct ReclaimableBody {
    body: Body,
    unread: UnreadBody,
}

impl http_body::Body for ReclaimableBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ReclaimableBody {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            *self.unread.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}

/// Reads and discards a body to its end, or until more than `max_bytes` were read. If the
/// connection were closed while its client is still sending, the response could be lost.
pub async fn discard(mut body: Body, max_bytes: usize) {
    let mut read = 0;
    while read <= max_bytes {
        // `None` is the end, and after an error there is no client to respond to.
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
