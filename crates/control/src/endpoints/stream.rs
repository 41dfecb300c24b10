//! The gRPC service of Spoor's own clients.

use std::{
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use spoor_policy::{Digest, ServiceName, Version};
use spoor_proto::spoor::control::v1::{
    ClientMessage, Hello, client_message::Message, policy_stream_server,
};
use tokio::sync::watch;
use tonic::{Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::Service;

use crate::{
    control::Control,
    endpoints::{
        partial::StreamMessage,
        subscribe::{Responding, respond},
        subscription::{StreamClient, check_ids},
    },
    identity::{Caller, Denied, Identify, Identity},
    metrics::Endpoint,
    rejection::Rejection,
    service::Outgoing,
    session::Session,
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
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        respond::<PolicyClient>(&self.0, SUBSCRIBE_PATH, request)
    }
}

impl StreamMessage for ClientMessage {
    /// Clients divide longer reports.
    const MAX_BYTES: usize = 1024 * 1024;
    /// A count with a version and times has at least 32 bytes encoded. An empty one has only two, but
    /// takes 80 once decoded: 40 MiB for a message of the maximum length.
    const MAX_REPORT_ELEMENTS: usize = Self::MAX_BYTES / 32;
    const NESTED_LIST: Option<(u32, u32)> = None;
}

/// A process that is registered for its service's plans.
struct PolicyClient {
    session: Session,
    outgoing: watch::Receiver<Outgoing>,
    /// Not the plan itself: a stream that does not read would keep its long message in memory.
    sent_plan: Option<(Version, Digest)>,
    sent_faults: Option<Bytes>,
    sent_shares: Option<u64>,
    /// The last value of [`Outgoing::shares`].
    seen_shares: u64,
}

impl StreamClient for PolicyClient {
    type Message = ClientMessage;
    type Hello = Hello;
    type Identity = Identity;
    type Outgoing = Outgoing;

    const ENDPOINT: Endpoint = Endpoint::Stream;

    fn hello(message: ClientMessage) -> Option<Hello> {
        match message.message {
            Some(Message::Hello(hello)) => Some(hello),
            _ => None,
        }
    }

    fn identify<'a>(
        identify: &'a dyn Identify,
        hello: &Hello,
        metadata: MetadataMap,
        peer: Option<IpAddr>,
    ) -> Result<BoxFuture<'a, Result<Identity, Denied>>, String> {
        let service =
            ServiceName::new(&hello.service).map_err(|error| format!("service {error}"))?;
        check_ids(&hello.instance, &hello.start)?;
        Ok(identify.stream(Caller {
            metadata,
            peer,
            service,
            instance: hello.instance.clone(),
        }))
    }

    fn register(control: &Control, identity: &Identity, hello: &Hello) -> Result<Self, Status> {
        let (session, held) = Session::register(control, identity, hello)?;
        Ok(Self {
            outgoing: session.outgoing(),
            session,
            sent_plan: held.map(|plan| (plan.version, plan.digest)),
            sent_faults: None,
            sent_shares: None,
            seen_shares: 0,
        })
    }

    fn outgoing(&mut self) -> &mut watch::Receiver<Outgoing> {
        &mut self.outgoing
    }

    /// The next message that was not sent yet: the plan, the faults, or the process's shares.
    fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let outgoing = self.outgoing.borrow_and_update().clone();
        // The plan comes first: clients ignore shares for a plan that they do not have.
        if let Some(plan) = outgoing.plan
            && self.sent_plan != Some((plan.version, plan.digest))
        {
            self.session.record_sent(&plan)?;
            self.sent_plan = Some((plan.version, plan.digest));
            return Ok(Some(plan.message.clone()));
        }
        // Sent even if there are none, which ends the faults of an earlier control plane.
        if self.sent_faults.as_ref() != Some(&outgoing.faults) {
            self.sent_faults = Some(outgoing.faults.clone());
            return Ok(Some(outgoing.faults));
        }
        if self.seen_shares != outgoing.shares {
            self.seen_shares = outgoing.shares;
            let newest = self.session.shares(self.sent_shares);
            let (number, message) = newest.unzip();
            self.sent_shares = number.or(self.sent_shares);
            return Ok(message);
        }
        Ok(None)
    }

    fn handle_message(&mut self, message: ClientMessage) -> Result<(), Status> {
        self.session.handle_message(message)
    }

    fn count_rejected(control: &Control, rejection: Rejection) {
        control.metrics().count_rejected(rejection);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use futures_util::{FutureExt, StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use prometheus_client::{encoding::text::encode, registry::Registry};
    use prost::Message;
    use spoor_policy::{Fault, FaultDelay, Namespace, Probability};
    use spoor_proto::spoor::control::v1::{Count, Report, client_message};
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
    async fn report_of_empty_counts_is_refused() {
        let control = Control::new(ControlSettings::default());
        let report = Report {
            counts: vec![Count::default(); ClientMessage::MAX_REPORT_ELEMENTS + 1],
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
