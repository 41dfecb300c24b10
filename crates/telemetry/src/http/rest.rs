//! The rest of a body that the answer did not wait for.
//!
//! A connection that is closed while its client still sends may take the answer with it, and then
//! the client is told "broken pipe" instead of what was wrong.

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

/// So much is read to no purpose; who sends more has to notice by itself.
const MOST: usize = 1024 * 1024;
/// And for so long.
const WITHIN: Duration = Duration::from_secs(1);

/// Reads a body to its end when the answer is made before, so that the answer is read too.
pub(super) async fn read_on(request: Request, next: Next) -> Response {
    let is_whole = request.body().is_end_stream();
    // Who asks first whether to send does not send what is refused.
    let asks_first = request.headers().contains_key(EXPECT);
    if is_whole || asks_first {
        return next.run(request).await;
    }
    let rest = Rest::default();
    let request = request.map(|body| Body::new(Given::new(body, &rest)));
    let response = next.run(request).await;
    if let Some(body) = rest.take() {
        // Whoever is slower than that is not waited for.
        let _ = tokio::time::timeout(WITHIN, discard(body)).await;
    }
    response
}

/// Receives a body that its handler did not read to the end.
#[derive(Clone, Default)]
struct Rest(Arc<Mutex<Option<Body>>>);

impl Rest {
    fn take(&self) -> Option<Body> {
        self.0.lock().take()
    }
}

/// A body on loan.
struct Given {
    body: Body,
    rest: Rest,
}

impl Given {
    fn new(body: Body, rest: &Rest) -> Self {
        let rest = rest.clone();
        Self { body, rest }
    }
}

impl http_body::Body for Given {
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

impl Drop for Given {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            *self.rest.0.lock() = Some(std::mem::take(&mut self.body));
        }
    }
}

async fn discard(mut body: Body) {
    let mut read = 0;
    while read < MOST {
        // None: its end. An error: there is nobody to answer.
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
