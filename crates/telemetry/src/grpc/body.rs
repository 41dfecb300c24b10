//! Observation of a response's body: its trailers end the call.

use std::{
    pin::Pin,
    task::{self, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status, body::Body};

use super::status;
use crate::{exchange::Exchange, metrics::Outcome};

/// Attaches the call to the response's body, or finishes it if the head determines its status.
pub(super) fn observe(call: Exchange, response: Response<Body>) -> Response<Body> {
    if let Some((code, message)) = status::of(response.headers()) {
        call.finish(Outcome::Rpc(code), message);
        return response;
    }
    // A proxy responded in place of a gRPC server.
    if !response.status().is_success() {
        let code = status::of_http(response.status());
        call.finish(Outcome::Rpc(code), String::new());
        return response;
    }
    response.map(|inner| {
        Body::new(ObservedBody {
            inner,
            call: Some(call),
        })
    })
}

struct ObservedBody {
    inner: Body,
    call: Option<Exchange>,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = {
            // A streaming handler runs while its body is polled.
            let _inside = self.call.as_ref().map(|call| call.context.clone().attach());
            Pin::new(&mut self.inner)
                .poll_frame(task)
                .map_err(correct_lost_connection)
        };
        let Poll::Ready(frame) = &polled else {
            return polled;
        };
        let end = match frame {
            // gRPC requires trailers: without them the response was cut off.
            None => Some((Code::Unknown, "the response has no trailers".to_owned())),
            Some(Err(error)) => Some((error.code(), error.message().to_owned())),
            Some(Ok(frame)) => frame
                .trailers_ref()
                .map(|trailers| status::of(trailers).unwrap_or((Code::Unknown, String::new()))),
        };
        if let Some((code, message)) = end
            && let Some(call) = self.call.take()
        {
            call.finish(Outcome::Rpc(code), message);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// tonic's status for a connection that is lost during a response is `UNKNOWN`, as if the service had
/// failed. A status of the service is never an error of the body, since it is in the trailers.
fn correct_lost_connection(error: Status) -> Status {
    match error.code() {
        Code::Unknown => Status::unavailable(error.message()),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn connection_lost_in_body_is_unavailable() {
        for (code, expected) in [
            (Code::Unknown, Code::Unavailable),
            (Code::Internal, Code::Internal),
        ] {
            let error = Err::<Frame<Bytes>, _>(Status::new(code, "lost"));
            let inner = Body::new(StreamBody::new(tokio_stream::iter([error])));
            let mut observed = ObservedBody { inner, call: None };
            let status = observed.frame().await.unwrap().unwrap_err();
            assert_eq!((status.code(), status.message()), (expected, "lost"));
        }
    }
}
