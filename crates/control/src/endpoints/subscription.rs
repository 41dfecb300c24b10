//! One open policy stream.

use std::{mem, net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use spoor_policy::{Digest, ServiceName, Version, message::is_invisible};
use spoor_proto::spoor::control::v1::{ClientMessage, Hello, client_message::Message};
use tokio::{
    sync::watch,
    task::coop,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};
use tonic::{Code, Request, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    control::Control,
    endpoints::partial::BoundedMessages,
    identity::{Caller, Denied},
    ledger::Rejection,
    service::Outgoing,
    session::Session,
};

/// The longest instance ID and process ID accepted, in bytes.
const MAX_INSTANCE_ID_BYTES: usize = 256;

/// The delay after which a client should try again if there are too many streams. Streams that send
/// no hello are closed after [`ControlSettings::hello_timeout`], whose default is the same.
///
/// [`ControlSettings::hello_timeout`]: crate::settings::ControlSettings::hello_timeout
const FULL_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A stream from its request to its end.
///
/// Polling it for the next message to send also reads the client's messages, so a stream needs
/// neither a task nor a queue of its own.
pub(crate) struct Subscription {
    control: Control,
    inbound: BoundedMessages,
    metadata: MetadataMap,
    peer: Option<IpAddr>,
    /// `None` until the client has sent a hello.
    active: Option<ActiveStream>,
    /// Ends when the control plane stops, and to make room for other clients.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: DropGuard,
}

/// A stream whose client is registered.
struct ActiveStream {
    session: Session,
    outgoing: watch::Receiver<Outgoing>,
    /// Not the plan itself: a stream that does not read would keep its long message in memory.
    sent_plan: Option<(Version, Digest)>,
    sent_faults: Option<Bytes>,
    sent_shares: Option<u64>,
    /// The last value of [`Outgoing::shares`].
    seen_shares: u64,
    idle_timeout: Duration,
    last_message: Instant,
    idle: Pin<Box<Sleep>>,
}

impl Subscription {
    /// Accepts a stream, if there is room.
    pub(crate) fn open(
        control: &Control,
        request: Request<BoundedMessages>,
    ) -> Result<Self, Status> {
        let connection = request.remote_addr();
        let end = control.settings().shutdown.child_token();
        if !control.stream_slots().take(connection, &end) {
            control.count_refused_stream("TooManyClients");
            return Err(Status::with_error_details(
                Code::ResourceExhausted,
                "too many streams are open; try again later",
                ErrorDetails::with_retry_info(Some(FULL_RETRY_DELAY)),
            ));
        }
        let (metadata, _, inbound) = request.into_parts();
        Ok(Self {
            control: control.clone(),
            inbound,
            metadata,
            peer: connection.map(|peer| peer.ip().to_canonical()),
            active: None,
            ended: Box::pin(end.clone().cancelled_owned()),
            _slot: end.drop_guard(),
        })
    }

    /// Waits for the next message to send, or returns `None` when the client has disconnected.
    pub(crate) async fn next(mut self: Box<Self>) -> Result<Option<(Bytes, Box<Self>)>, Status> {
        if self.active.is_none() {
            let Some(active) = self.receive_hello().await? else {
                return Ok(None);
            };
            self.active = Some(active);
        }
        let Self {
            inbound,
            active: Some(active),
            ended,
            ..
        } = &mut *self
        else {
            return Ok(None);
        };
        loop {
            // Nothing is sent while a message has arrived in part. This is polled again only once the
            // client has read what was sent, so the part would keep its room, even beyond its timeout,
            // if the client reads nothing.
            if !inbound.has_partial_message()
                && let Some(message) = active.next_message()?
            {
                return Ok(Some((message, self)));
            }
            tokio::select! {
                () = &mut *ended => return Err(stopping()),
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        active.handle_message(message)?;
                        // Reading messages that have arrived never waits, so thousands of short ones
                        // would otherwise keep other tasks from running.
                        coop::consume_budget().await;
                    }
                    Ok(None) => return Ok(None),
                    Err(status) => return self.end_broken(status),
                },
                // The watch channel keeps the newest value only, so that a slow client skips
                // versions.
                changed = active.outgoing.changed() => changed.map_err(|_| stopping())?,
                () = &mut active.idle => active.check_idle()?,
            }
        }
    }

    /// Waits for the hello, identifies the client and registers it.
    async fn receive_hello(&mut self) -> Result<Option<ActiveStream>, Status> {
        let settings = &self.control.settings();
        let hello = tokio::select! {
            () = &mut self.ended => return Err(stopping()),
            hello = timeout(settings.hello_timeout, self.inbound.message()) => hello,
        };
        let hello = match hello {
            Ok(Ok(Some(ClientMessage {
                message: Some(Message::Hello(hello)),
            }))) => hello,
            Ok(Ok(Some(_))) => {
                return Err(self.reject("NoHello", "the first message must be a hello"));
            }
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(status)) => return Err(status),
            Err(_) => {
                self.control.count_refused_stream("NoHello");
                return Err(Status::deadline_exceeded("hello timed out; send it first"));
            }
        };
        // Not needed again, and up to 48 KiB long.
        let metadata = mem::take(&mut self.metadata);
        let caller = self.caller(&hello, metadata)?;
        // In a cluster this calls the API server, so it needs a timeout.
        let identified = tokio::select! {
            () = &mut self.ended => return Err(stopping()),
            identified = timeout(settings.hello_timeout, settings.identify.stream(caller)) => {
                identified
            }
        };
        let identity = identified
            .unwrap_or_else(|_| Err(Denied::Unavailable("timed out".to_owned())))
            .inspect_err(|denied| self.control.count_refused_stream(denied.reason()))?;
        let (session, held) = Session::register(&self.control, &identity, &hello)?;
        let now = Instant::now();
        Ok(Some(ActiveStream {
            outgoing: session.outgoing(),
            session,
            sent_plan: held.map(|plan| (plan.version, plan.digest)),
            sent_faults: None,
            sent_shares: None,
            seen_shares: 0,
            idle_timeout: settings.idle_timeout,
            last_message: now,
            idle: Box::pin(sleep_until(now + settings.idle_timeout)),
        }))
    }

    /// Ends a stream that cannot be read. A broken connection is not an error: the client
    /// reconnects.
    fn end_broken(&self, status: Status) -> Result<Option<(Bytes, Box<Self>)>, Status> {
        let rejection = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Rejection::Unreadable,
            Code::ResourceExhausted | Code::DeadlineExceeded => Rejection::Incomplete,
            _ => return Ok(None),
        };
        self.control.metrics().count_rejected(rejection);
        Err(status)
    }

    fn caller(&self, hello: &Hello, metadata: MetadataMap) -> Result<Caller, Status> {
        let service = ServiceName::new(&hello.service)
            .map_err(|error| self.reject("Malformed", &format!("service {error}")))?;
        let (instance, start) = (&hello.instance, &hello.start);
        let is_well_formed =
            |name: &str| name.len() <= MAX_INSTANCE_ID_BYTES && !name.contains(is_invisible);
        if instance.is_empty() || !is_well_formed(instance) || !is_well_formed(start) {
            let detail = format!(
                "instance and start must have at most {MAX_INSTANCE_ID_BYTES} bytes and no control characters, and instance must not be empty"
            );
            return Err(self.reject("Malformed", &detail));
        }
        Ok(Caller {
            metadata,
            peer: self.peer,
            service,
            instance: instance.clone(),
        })
    }

    fn reject(&self, reason: &'static str, detail: &str) -> Status {
        self.control.count_refused_stream(reason);
        Status::invalid_argument(detail)
    }
}

impl ActiveStream {
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
        self.last_message = Instant::now();
        self.session.handle_message(message)
    }

    fn check_idle(&mut self) -> Result<(), Status> {
        let until = self.last_message + self.idle_timeout;
        if Instant::now() >= until {
            return Err(Status::deadline_exceeded(
                "no message received for too long; send a report at least every 5 s",
            ));
        }
        // Reset only when it fires, since resetting the timer at each message would cost more.
        self.idle.as_mut().reset(until);
        Ok(())
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping, or needs room for other clients")
}
