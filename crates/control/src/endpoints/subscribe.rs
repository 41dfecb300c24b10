//! The gRPC method `Subscribe`, which each kind of stream has.
//!
//! Written by hand rather than generated, since generated code would encode each message again for
//! every subscriber.

use std::{convert::Infallible, future::ready};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture, stream::unfold};
use http::{HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use tonic::{Request, Status, body::Body, metadata::MetadataMap};

use crate::{
    control::Control,
    endpoints::{
        partial::BoundedMessages,
        subscription::{StreamClient, Subscription},
    },
};

/// The future of a response.
pub(crate) type Responding = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

/// Responds to a request for the method with this path.
pub(crate) fn respond<C: StreamClient>(
    control: &Control,
    path: &str,
    request: http::Request<Body>,
) -> Responding {
    if request.uri().path() != path {
        let status = Status::unimplemented("no such method; call Subscribe");
        return Box::pin(ready(Ok(status.into_http())));
    }
    let response = subscribe::<C>(control, request);
    Box::pin(ready(Ok(
        response.unwrap_or_else(|status| status.into_http())
    )))
}

fn subscribe<C: StreamClient>(
    control: &Control,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let messages = BoundedMessages::new(body, control.partial_room());
    let metadata = MetadataMap::from_headers(head.headers);
    let request = Request::from_parts(metadata, head.extensions, messages);
    let subscription = Subscription::<C>::open(control, request)?;
    // Polled only when the connection has room, so a slow client skips versions and delays no other
    // client.
    let frames = unfold(Some(Box::new(subscription)), async |subscription| {
        Some(match subscription?.next().await {
            Ok(Some((message, subscription))) => (frame(&message), Some(subscription)),
            Ok(None) => (end(&Status::ok("")), None),
            Err(status) => (end(&status), None),
        })
    });
    let body = StreamBody::new(frames.map(Ok::<_, Status>));
    let mut response = http::Response::new(Body::new(body));
    let content_type = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(response)
}

/// A message with its prefix, in a buffer of its own. Tonic would copy all messages of a stream
/// into one buffer, which stays as large as the longest one until the stream ends.
fn frame(message: &Bytes) -> Frame<Bytes> {
    let mut framed = BytesMut::with_capacity(size_of::<u8>() + size_of::<u32>() + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    Frame::data(framed.freeze())
}

/// The end of a stream.
fn end(status: &Status) -> Frame<Bytes> {
    let (mut head, ()) = status.clone().into_http::<()>().into_parts();
    head.headers.remove(CONTENT_TYPE);
    Frame::trailers(head.headers)
}
