//! The gRPC service of samplers.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use spoor_proto::spoor::control::v1::{
    SamplerHello, SamplerMessage, sampler_message::Message, tail_rule_stream_server,
};
use tokio::sync::watch;
use tonic::{Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::Service;

use crate::{
    control::Control,
    identity::{Denied, Identify, SamplerCaller, SamplerIdentity},
    listeners::{
        subscribe::{Responding, respond},
        subscription::{StreamClient, check_ids},
    },
    metrics::Endpoint,
    rejection::Rejection,
    sampler_session::SamplerSession,
    tail_rules::ServedRules,
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

/// A sampler that is registered for its namespace's tail rules.
struct SamplerClient {
    session: SamplerSession,
    outgoing: watch::Receiver<Option<Arc<ServedRules>>>,
    sent: Option<Arc<ServedRules>>,
}

impl StreamClient for SamplerClient {
    type Message = SamplerMessage;
    type Hello = SamplerHello;
    type Identity = SamplerIdentity;
    type Outgoing = Option<Arc<ServedRules>>;

    const ENDPOINT: Endpoint = Endpoint::TailRuleStream;
    /// Room for the counts of about 20,000 policies of four rules. A sampler reports those of each
    /// version that it has decided by.
    const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

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
        let (session, sent) = SamplerSession::register(control, identity, hello);
        Ok(Self {
            outgoing: session.outgoing(),
            session,
            sent,
        })
    }

    fn outgoing(&mut self) -> &mut watch::Receiver<Option<Arc<ServedRules>>> {
        &mut self.outgoing
    }

    /// The rules, if they were not sent yet.
    fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(rules) = self.outgoing.borrow_and_update().clone() else {
            return Ok(None);
        };
        let is_sent = |sent: &Arc<ServedRules>| Arc::ptr_eq(sent, &rules);
        if self.sent.as_ref().is_some_and(is_sent) {
            return Ok(None);
        }
        self.session.record_sent(&rules)?;
        let message = rules.message.clone();
        self.sent = Some(rules);
        Ok(Some(message))
    }

    fn handle_message(&mut self, message: SamplerMessage) -> Result<(), Status> {
        self.session.handle_message(message)
    }

    fn count_unreadable(control: &Control) {
        let metrics = &control.metrics().samplers;
        metrics.count_rejected(Rejection::Unreadable);
    }
}

/// Checks the name of a TracingStack, which may be empty.
fn check_stack(stack: &str) -> Result<(), String> {
    /// The longest name of a Kubernetes object, in bytes.
    const MAX_NAME_BYTES: usize = 253;
    if stack.len() > MAX_NAME_BYTES || stack.chars().any(char::is_control) {
        return Err(format!(
            "stack must have at most {MAX_NAME_BYTES} bytes and no control characters"
        ));
    }
    Ok(())
}
