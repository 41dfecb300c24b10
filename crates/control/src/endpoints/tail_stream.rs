//! The gRPC service of samplers.

use std::{
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use spoor_policy::{Version, message::is_invisible};
use spoor_proto::spoor::control::v1::{
    SamplerHello, SamplerMessage, sampler_message::Message, tail_rule_stream_server,
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
    identity::{Denied, Identify, SamplerCaller, SamplerIdentity},
    metrics::Endpoint,
    rejection::Rejection,
    sampler_session::SamplerSession,
    samplers::SamplerOutgoing,
};

const SUBSCRIBE_PATH: &str = "/spoor.control.v1.TailRuleStream/Subscribe";

/// The gRPC service `spoor.control.v1.TailRuleStream`, for a Tonic server.
///
/// Set the server's `http2_keepalive_interval`: without it, connections whose peer has vanished
/// stay open.
#[derive(Clone, Debug)]
pub struct TailRuleStreamService(Control);

impl Control {
    /// The gRPC service `spoor.control.v1.TailRuleStream`.
    #[must_use]
    pub fn tail_rule_stream(&self) -> TailRuleStreamService {
        TailRuleStreamService(self.clone())
    }
}

impl NamedService for TailRuleStreamService {
    const NAME: &'static str = tail_rule_stream_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for TailRuleStreamService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        respond::<SamplerClient>(&self.0, SUBSCRIBE_PATH, request)
    }
}

impl StreamMessage for SamplerMessage {
    /// Room for the counts of about 20,000 policies of four rules. A sampler divides longer reports.
    const MAX_BYTES: usize = 4 * 1024 * 1024;
    /// A count of a rule with a name of ten letters has about 16 bytes encoded. An empty one has only
    /// two, but takes 32 once decoded, and an empty count of a policy takes 96.
    const MAX_REPORT_ELEMENTS: usize = Self::MAX_BYTES / 16;
    /// The counts of rules in the counts of policies.
    const NESTED_LIST: Option<(u32, u32)> = Some((1, 4));
}

/// A sampler that is registered for its namespace's tail rules and its stack's rings.
struct SamplerClient {
    session: SamplerSession,
    stack: String,
    outgoing: watch::Receiver<SamplerOutgoing>,
    /// Not the rules themselves: a stream that does not read would keep their message in memory.
    sent_rules: Option<Version>,
    sent_rings: Option<Bytes>,
}

impl StreamClient for SamplerClient {
    type Message = SamplerMessage;
    type Hello = SamplerHello;
    type Identity = SamplerIdentity;
    type Outgoing = SamplerOutgoing;

    const ENDPOINT: Endpoint = Endpoint::TailRuleStream;

    fn hello(message: SamplerMessage) -> Option<SamplerHello> {
        match message.message {
            Some(Message::Hello(hello)) => Some(hello),
            _ => None,
        }
    }

    fn identify<'a>(
        identify: &'a dyn Identify,
        hello: &SamplerHello,
        metadata: MetadataMap,
        peer: Option<IpAddr>,
    ) -> Result<BoxFuture<'a, Result<SamplerIdentity, Denied>>, String> {
        check_ids(&hello.instance, &hello.start)?;
        // Counts restart with each process, which only its ID can show.
        if hello.start.is_empty() {
            return Err("start must not be empty; make an ID at each start".to_owned());
        }
        check_stack(&hello.stack)?;
        Ok(identify.sampler(SamplerCaller {
            metadata,
            peer,
            stack: hello.stack.clone(),
            instance: hello.instance.clone(),
        }))
    }

    fn register(
        control: &Control,
        identity: &SamplerIdentity,
        hello: &SamplerHello,
    ) -> Result<Self, Status> {
        let (session, held) = SamplerSession::register(control, identity, hello);
        Ok(Self {
            outgoing: session.outgoing(),
            session,
            stack: identity.stack.clone(),
            sent_rules: held.map(|rules| rules.version),
            sent_rings: None,
        })
    }

    fn outgoing(&mut self) -> &mut watch::Receiver<SamplerOutgoing> {
        &mut self.outgoing
    }

    /// The next message that was not sent yet: the stack's rings, or the rules.
    fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let outgoing = self.outgoing.borrow_and_update().clone();
        // The rings come first: a sampler accepts no spans before it knows them.
        if let Some(rings) = outgoing.rings.get(&self.stack)
            && self.sent_rings.as_ref() != Some(rings)
        {
            self.session.count_rings_sent();
            self.sent_rings = Some(rings.clone());
            return Ok(Some(rings.clone()));
        }
        if let Some(rules) = outgoing.rules
            && self.sent_rules != Some(rules.version)
        {
            self.session.record_sent(&rules)?;
            self.sent_rules = Some(rules.version);
            return Ok(Some(rules.message.clone()));
        }
        Ok(None)
    }

    fn handle_message(&mut self, message: SamplerMessage) -> Result<(), Status> {
        self.session.handle_message(message)
    }

    fn count_rejected(control: &Control, rejection: Rejection) {
        control.metrics().samplers.count_rejected(rejection);
    }
}

/// Checks the name of a TracingStack, which may be empty.
fn check_stack(stack: &str) -> Result<(), String> {
    /// The longest name of a Kubernetes object, in bytes.
    const MAX_NAME_BYTES: usize = 253;
    if stack.len() > MAX_NAME_BYTES || stack.contains(is_invisible) {
        return Err(format!(
            "stack must have at most {MAX_NAME_BYTES} bytes and no control characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use prost::Message;
    use spoor_proto::spoor::control::v1::{RuleCount, TailCount, TailReport, sampler_message};
    use tonic::Code;

    use super::*;
    use crate::settings::ControlSettings;

    #[tokio::test]
    async fn report_of_empty_rule_counts_is_refused() {
        let control = Control::new(ControlSettings::default());
        let count = TailCount {
            rules: vec![RuleCount::default(); SamplerMessage::MAX_REPORT_ELEMENTS],
            ..TailCount::default()
        };
        let report = TailReport {
            counts: vec![count],
            ..TailReport::default()
        };
        let report = SamplerMessage {
            message: Some(sampler_message::Message::Report(report)),
        };
        let report = report.encode_to_vec();
        let mut sent = vec![0];
        sent.extend(u32::try_from(report.len()).unwrap().to_be_bytes());
        sent.extend(report);
        let data = Bytes::from(sent);
        let body = StreamBody::new(stream::iter([Ok::<_, Status>(Frame::data(data))]));
        let request = http::Request::post(SUBSCRIBE_PATH).body(Body::new(body));
        let response = control.tail_rule_stream().call(request.unwrap()).await;
        let received = response.unwrap().into_body().collect().await.unwrap();
        let status = Status::from_header_map(received.trailers().unwrap()).unwrap();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains("262144 elements"), "{status}");
    }
}
