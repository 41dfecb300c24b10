//! The gRPC method `Subscribe`, which each kind of stream has.
//!
//! Written by hand rather than generated, since generated code would encode each message again for
//! every subscriber.

use std::{convert::Infallible, future::ready};

use futures_util::{future::BoxFuture, stream::try_unfold};
use prost::Message;
use spoor_runtime::EncodedCodec;
use tonic::{Request, Response, Status, Streaming, body::Body, codec::DecodeBuf, server::Grpc};
use tower::service_fn;

use crate::{
    control::Control,
    listeners::{
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
    let control = control.clone();
    let room = control.partial_room();
    let request = request.map(|body| Body::new(BoundedMessages::new(body, room)));
    let subscribe = service_fn(move |request: Request<Streaming<C::Message>>| {
        let subscription = Subscription::<C>::open(&control, request);
        ready(subscription.map(|subscription| {
            // Polled only when the connection has room, so a slow client skips versions and
            // delays no other client.
            Response::new(try_unfold(Box::new(subscription), Subscription::<C>::next))
        }))
    });
    Box::pin(async move {
        let mut grpc = Grpc::new(EncodedCodec(decode::<C::Message>))
            .apply_max_message_size_config(Some(C::MAX_MESSAGE_BYTES), None);
        Ok(grpc.streaming(subscribe, request).await)
    })
}

fn decode<M: Message + Default>(buffer: &mut DecodeBuf<'_>) -> Result<M, Status> {
    M::decode(buffer).map_err(|error| Status::invalid_argument(error.to_string()))
}
