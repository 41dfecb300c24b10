//! The gRPC service of Spoor's own clients.
//!
//! Written by hand rather than generated, since generated code would encode each plan again for
//! every subscriber.

use std::{
    convert::Infallible,
    future::ready,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture, stream::unfold};
use http::{HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use spoor_proto::spoor::control::v1::policy_stream_server;
use tonic::{Request, Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::Service;

use crate::{
    control::Control,
    endpoints::{partial::BoundedMessages, subscription::Subscription},
};

const SUBSCRIBE_PATH: &str = "/spoor.control.v1.PolicyStream/Subscribe";

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
        let response = subscribe(&self.0, request);
        Box::pin(ready(Ok(
            response.unwrap_or_else(|status| status.into_http())
        )))
    }
}

fn subscribe(
    control: &Control,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let messages = BoundedMessages::new(body, control.partial_room());
    let metadata = MetadataMap::from_headers(head.headers);
    let request = Request::from_parts(metadata, head.extensions, messages);
    let subscription = Subscription::open(control, request)?;
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
/// into one buffer, which stays as large as the longest plan until the stream ends.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use futures_util::{FutureExt, stream};
    use http_body_util::BodyExt;
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use prost::Message;
    use spoor_policy::{Fault, FaultDelay, Namespace, Probability};
    use spoor_proto::spoor::control::v1::{ClientMessage, Count, Hello, Report, client_message};
    use tonic::Code;

    use super::*;
    use crate::{endpoints::partial::MAX_REPORT_ELEMENTS, settings::ControlSettings};

    /// The first bytes of a message of this length.
    fn message(length: usize, begin: &[u8]) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).unwrap().to_be_bytes());
        message.extend(begin);
        message
    }

    #[tokio::test]
    async fn report_of_empty_counts_is_refused() {
        let control = Control::new(ControlSettings::default());
        let report = Report {
            counts: vec![Count::default(); MAX_REPORT_ELEMENTS + 1],
            ..Report::default()
        };
        let report = ClientMessage {
            message: Some(client_message::Message::Report(report)),
        };
        let report = report.encode_to_vec();
        let data = Bytes::from(message(report.len(), &report));
        let body = StreamBody::new(stream::iter([Ok::<_, Status>(Frame::data(data))]));
        let request = http::Request::post(SUBSCRIBE_PATH).body(Body::new(body));
        let response = control.policy_stream().call(request.unwrap()).await;
        let received = response.unwrap().into_body().collect().await.unwrap();
        let status = Status::from_header_map(received.trailers().unwrap()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("32768 elements"), "{status}");
    }

    /// A hello and the first part of a longer message.
    fn hello_and_part() -> [Result<Frame<Bytes>, Status>; 2] {
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
        sent.map(|data| Ok(Frame::data(Bytes::from(data))))
    }

    #[tokio::test]
    async fn nothing_is_sent_during_a_partial_message() {
        let control = Control::new(ControlSettings::default());
        let frames = hello_and_part();
        let body = StreamBody::new(stream::iter(frames).chain(stream::pending()));
        let request = http::Request::post(SUBSCRIBE_PATH).body(Body::new(body));
        let response = control.policy_stream().call(request.unwrap()).await;
        let mut received = response.unwrap().into_body();
        // The service has no faults.
        assert!(received.frame().now_or_never().is_some());
        let free = control.partial_room().available_permits();
        assert!(received.frame().now_or_never().is_none());
        assert!(control.partial_room().available_permits() < free);
        let fault = Fault {
            operation: None,
            delay: FaultDelay::new(Duration::from_millis(1)).unwrap(),
            error_rate: Probability::ALWAYS,
        };
        let service = "a".parse().unwrap();
        control.set_faults(&Namespace::default(), &service, vec![fault]);
        assert!(received.frame().now_or_never().is_none());
    }

    #[tokio::test]
    async fn refused_partial_message_is_reported() {
        let control = Control::new(ControlSettings::default());
        let room = control.partial_room();
        let all = u32::try_from(room.available_permits()).unwrap();
        let _taken = room.try_acquire_many_owned(all).unwrap();
        let frames = hello_and_part();
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
