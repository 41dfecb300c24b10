//! One open stream of a client.

use std::{mem, net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use spoor_policy::message::is_invisible;
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
    endpoints::partial::{BoundedMessages, StreamMessage},
    identity::{Denied, Identify},
    metrics::Endpoint,
    rejection::Rejection,
};

/// The longest instance ID and process ID accepted, in bytes.
const MAX_INSTANCE_ID_BYTES: usize = 256;

/// The delay after which a client should try again if there are too many streams. Streams that send
/// no hello are closed after [`ControlSettings::hello_timeout`], whose default is the same.
///
/// [`ControlSettings::hello_timeout`]: crate::settings::ControlSettings::hello_timeout
const FULL_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A registered client of one kind of stream. Dropping it disconnects the client.
pub(crate) trait StreamClient: Sized + Send + 'static {
    /// A message that the client sends.
    type Message: StreamMessage + 'static;
    /// The first message.
    type Hello: Send + 'static;
    /// The identity of the client.
    type Identity: Send + 'static;
    /// The newest messages, shared by all streams of this kind that receive the same ones.
    type Outgoing: Send + Sync + 'static;

    /// The label of the endpoint in metrics.
    const ENDPOINT: Endpoint;

    /// The hello in a message, if it is one.
    fn hello(message: Self::Message) -> Option<Self::Hello>;

    /// Identifies the client that sent a hello.
    ///
    /// # Errors
    /// The reason why the hello is malformed.
    fn identify<'a>(
        identify: &'a dyn Identify,
        hello: &Self::Hello,
        metadata: MetadataMap,
        peer: Option<IpAddr>,
    ) -> Result<BoxFuture<'a, Result<Self::Identity, Denied>>, String>;

    /// Registers the client.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn register(
        control: &Control,
        identity: &Self::Identity,
        hello: &Self::Hello,
    ) -> Result<Self, Status>;

    /// The receiver that is notified of new messages for the stream.
    fn outgoing(&mut self) -> &mut watch::Receiver<Self::Outgoing>;

    /// The next message that was not sent yet.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn next_message(&mut self) -> Result<Option<Bytes>, Status>;

    /// Handles a message after the hello.
    ///
    /// # Errors
    /// The status that the stream ends with.
    fn handle_message(&mut self, message: Self::Message) -> Result<(), Status>;

    /// Counts a message that was not applied.
    fn count_rejected(control: &Control, rejection: Rejection);
}

/// A stream from its request to its end.
///
/// Polling it for the next message to send also reads the client's messages, so a stream needs
/// neither a task nor a queue of its own.
pub(crate) struct Subscription<C: StreamClient> {
    control: Control,
    inbound: BoundedMessages<C::Message>,
    metadata: MetadataMap,
    peer: Option<IpAddr>,
    /// `None` until the client has sent a hello.
    active: Option<ActiveStream<C>>,
    /// Ends when the control plane stops, and to make room for other clients.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _slot: DropGuard,
}

/// A stream whose client is registered.
struct ActiveStream<C> {
    client: C,
    idle_timeout: Duration,
    last_message: Instant,
    idle: Pin<Box<Sleep>>,
}

impl<C: StreamClient> Subscription<C> {
    /// Accepts a stream, if there is room.
    pub(crate) fn open(
        control: &Control,
        request: Request<BoundedMessages<C::Message>>,
    ) -> Result<Self, Status> {
        let connection = request.remote_addr();
        let end = control.settings().shutdown.child_token();
        if !control.stream_slots().take(connection, &end) {
            control.count_refused_stream(C::ENDPOINT, "TooManyClients");
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
                && let Some(message) = active.client.next_message()?
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
                changed = active.client.outgoing().changed() => changed.map_err(|_| stopping())?,
                () = &mut active.idle => active.check_idle()?,
            }
        }
    }

    /// Waits for the hello, identifies the client and registers it.
    async fn receive_hello(&mut self) -> Result<Option<ActiveStream<C>>, Status> {
        let settings = &self.control.settings();
        let message = tokio::select! {
            () = &mut self.ended => return Err(stopping()),
            message = timeout(settings.hello_timeout, self.inbound.message()) => message,
        };
        let hello = match message {
            Ok(Ok(Some(message))) => C::hello(message)
                .ok_or_else(|| self.reject("NoHello", "the first message must be a hello"))?,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(status)) => return Err(status),
            Err(_) => {
                self.control.count_refused_stream(C::ENDPOINT, "NoHello");
                return Err(Status::deadline_exceeded("hello timed out; send it first"));
            }
        };
        // Not needed again, and up to 48 KiB long.
        let metadata = mem::take(&mut self.metadata);
        let identifying = C::identify(&*settings.identify, &hello, metadata, self.peer)
            .map_err(|detail| self.reject("Malformed", &detail))?;
        // In a cluster this calls the API server, so it needs a timeout.
        let identified = tokio::select! {
            () = &mut self.ended => return Err(stopping()),
            identified = timeout(settings.hello_timeout, identifying) => identified,
        };
        let identity = identified
            .unwrap_or_else(|_| Err(Denied::Unavailable("timed out".to_owned())))
            .inspect_err(|denied| {
                self.control
                    .count_refused_stream(C::ENDPOINT, denied.reason());
            })?;
        let client = C::register(&self.control, &identity, &hello)?;
        let now = Instant::now();
        Ok(Some(ActiveStream {
            client,
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
        C::count_rejected(&self.control, rejection);
        Err(status)
    }

    fn reject(&self, reason: &'static str, detail: &str) -> Status {
        self.control.count_refused_stream(C::ENDPOINT, reason);
        Status::invalid_argument(detail)
    }
}

impl<C: StreamClient> ActiveStream<C> {
    fn handle_message(&mut self, message: C::Message) -> Result<(), Status> {
        self.last_message = Instant::now();
        self.client.handle_message(message)
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

/// Checks the IDs by which a hello names an instance and its process.
///
/// # Errors
/// The limit that they violate.
pub(crate) fn check_ids(instance: &str, start: &str) -> Result<(), String> {
    if instance.is_empty() || !is_well_formed(instance) || !is_well_formed(start) {
        return Err(format!(
            "instance and start must have at most {MAX_INSTANCE_ID_BYTES} bytes and no control characters, and instance must not be empty"
        ));
    }
    Ok(())
}

fn is_well_formed(name: &str) -> bool {
    name.len() <= MAX_INSTANCE_ID_BYTES && !name.contains(is_invisible)
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping, or needs room for other clients")
}
