//! The gRPC service of Spoor's own clients.

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use spoor_policy::ServiceName;
use spoor_proto::spoor::control::v1::{
    ClientMessage, Hello, client_message::Message, policy_stream_server,
};
use tokio::sync::watch;
use tonic::{Status, body::Body, metadata::MetadataMap, server::NamedService};
use tower::Service;

use crate::{
    control::Control,
    identity::{Caller, Denied, Identify, Identity},
    listeners::{
        subscribe::{Responding, respond},
        subscription::{StreamClient, check_ids},
    },
    metrics::Endpoint,
    rejection::Rejection,
    served_plan::ServedPlan,
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

/// A process that is registered for its service's plans.
struct PolicyClient {
    session: Session,
    outgoing: watch::Receiver<Outgoing>,
    sent_plan: Option<Arc<ServedPlan>>,
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
    /// About ten times a report on the largest plan.
    const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

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
        let (session, sent_plan) = Session::register(control, identity, hello)?;
        Ok(Self {
            outgoing: session.outgoing(),
            session,
            sent_plan,
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
        let Outgoing {
            plan,
            faults,
            shares,
        } = self.outgoing.borrow_and_update().clone();
        // The plan comes first: clients ignore shares for a plan that they do not have.
        if let Some(plan) = plan
            && !self
                .sent_plan
                .as_ref()
                .is_some_and(|sent| Arc::ptr_eq(sent, &plan))
        {
            self.session.record_sent(&plan)?;
            let message = plan.message.clone();
            self.sent_plan = Some(plan);
            return Ok(Some(message));
        }
        // Sent even if there are none, which ends the faults of an earlier control plane.
        if self.sent_faults.as_ref() != Some(&faults) {
            self.sent_faults = Some(faults.clone());
            return Ok(Some(faults));
        }
        if self.seen_shares != shares {
            self.seen_shares = shares;
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

    fn count_unreadable(control: &Control) {
        control.metrics().count_rejected(Rejection::Unreadable);
    }
}
