//! The gRPC service of Spoor's own clients.
//!
//! Written by hand rather than generated, since generated code would encode each plan again for
//! every subscriber.

use std::{
    convert::Infallible,
    future::ready,
    task::{Context, Poll},
};

use futures_util::{future::BoxFuture, stream::try_unfold};
use prost::Message;
use spoor_proto::spoor::control::v1::{ClientMessage, policy_stream_server};
use spoor_runtime::EncodedCodec;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::DecodeBuf,
    server::{Grpc, NamedService},
};
use tower::{Service, service_fn};

use crate::{
    control::Control,
    endpoints::{partial::BoundedMessages, subscription::Subscription},
};

const SUBSCRIBE_PATH: &str = "/spoor.control.v1.PolicyStream/Subscribe";

/// The longest message accepted, about ten times a report on the largest plan.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// The gRPC service `spoor.control.v1.PolicyStream`, for a Tonic server.
///
/// Set the server's `http2_keepalive_interval`: without it, connections whose peer has vanished
/// stay open.
#[derive(Clone, Debug)]
pub struct PolicyStreamService(Control);

impl Control {
    /// The gRPC service `spoor.control.v1.PolicyStream`.
    #[must_use]
    pub fn policy_stream(&self) -> PolicyStreamService {
        PolicyStreamService(self.clone())
    }
}

impl NamedService for PolicyStreamService {
    const NAME: &'static str = policy_stream_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for PolicyStreamService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != SUBSCRIBE_PATH {
            let status = Status::unimplemented("no such method; call Subscribe");
            return Box::pin(ready(Ok(status.into_http())));
        }
        let control = self.0.clone();
        let room = control.partial_room();
        let request = request.map(|body| Body::new(BoundedMessages::new(body, room)));
        let subscribe = service_fn(move |request: Request<Streaming<ClientMessage>>| {
            let subscription = Subscription::open(&control, request);
            ready(subscription.map(|subscription| {
                // Polled only when the connection has room, so a slow client skips versions and
                // delays no other client.
                Response::new(try_unfold(Box::new(subscription), Subscription::next))
            }))
        });
        Box::pin(async move {
            let mut grpc = Grpc::new(EncodedCodec(decode))
                .apply_max_message_size_config(Some(MAX_MESSAGE_BYTES), None);
            Ok(grpc.streaming(subscribe, request).await)
        })
    }
}

fn decode(buffer: &mut DecodeBuf<'_>) -> Result<ClientMessage, Status> {
    ClientMessage::decode(buffer).map_err(|error| Status::invalid_argument(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use spoor_proto::spoor::control::v1::{Hello, client_message};
    use tonic::Code;

    use super::*;
    use crate::settings::ControlSettings;

    /// The first bytes of a message of this length.
    fn message(length: usize, begin: &[u8]) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).unwrap().to_be_bytes());
        message.extend(begin);
        message
    }

    #[tokio::test]
    async fn refused_part_of_a_message_is_reported() {
        let control = Control::new(ControlSettings::default());
        let room = control.partial_room();
        let all = u32::try_from(room.available_permits()).unwrap();
        let _taken = room.try_acquire_many_owned(all).unwrap();
        let hello = Hello {
            service: "a".to_owned(),
            instance: "1".to_owned(),
            ..Hello::default()
        };
        let hello = ClientMessage {
            message: Some(client_message::Message::Hello(hello)),
        };
        let hello = hello.encode_to_vec();
        let sent = [message(hello.len(), &hello), message(100_000, &[0; 10_000])];
        let frames = sent.map(|data| Ok::<_, Status>(Frame::data(Bytes::from(data))));
        let body = Body::new(StreamBody::new(stream::iter(frames)));
        let request = http::Request::post(SUBSCRIBE_PATH).body(body).unwrap();
        let response = control.policy_stream().call(request).await.unwrap();
        let received = response.into_body().collect().await.unwrap();
        let status = Status::from_header_map(received.trailers().unwrap()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");

        let mut registry = Registry::default();
        control.register(&mut registry);
        let mut metrics = String::new();
        encode(&mut metrics, &registry).unwrap();
        let counted = r#"spoor_control_rejected_messages_total{reason="Incomplete"} 1"#;
        assert!(metrics.contains(counted), "{metrics}");
    }
}
