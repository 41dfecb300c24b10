//! One open stream of a client.

use std::{net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    control::Control,
    identity::{Denied, Identify},
    metrics::Endpoint,
};

/// The longest instance ID and process ID accepted, in bytes.
const MAX_INSTANCE_ID_BYTES: usize = 256;

/// The delay after which a client should try again if there are too many streams. Streams that
/// never register are closed after [`ControlSettings::hello_timeout`], which is the same.
///
/// [`ControlSettings::hello_timeout`]: crate::settings::ControlSettings::hello_timeout
const FULL_RETRY_DELAY: Duration = Duration::from_secs(5);

/// A registered client of one kind of stream. Dropping it disconnects the client.
pub(crate) trait StreamClient: Sized + Send + 'static {
    /// A message that the client sends.
    type Message: prost::Message + Default + 'static;
    /// The first message.
    type Hello: Send + 'static;
    /// The identity of the client.
    type Identity: Send + 'static;
    /// The newest messages for all streams of this kind that receive the same.
    type Outgoing: Send + Sync + 'static;

    /// The label of the endpoint in metrics.
    const ENDPOINT: Endpoint;
    /// The longest message accepted, in bytes.
    const MAX_MESSAGE_BYTES: usize;

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

    /// Counts a message that cannot be decoded.
    fn count_unreadable(control: &Control);
}

/// A stream from its request to its end.
///
/// Polling it for the next message to send also reads the client's messages, so a stream needs
/// neither a task nor a queue of its own.
pub(crate) struct Subscription<C: StreamClient> {
    control: Control,
    inbound: Streaming<C::Message>,
    metadata: MetadataMap,
    peer: Option<IpAddr>,
    /// `None` until the client has sent a hello.
    active: Option<ActiveStream<C>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
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
        request: Request<Streaming<C::Message>>,
    ) -> Result<Self, Status> {
        let Some(permit) = control.try_reserve_stream() else {
            control.count_refused_stream(C::ENDPOINT, "TooManyClients");
            return Err(Status::with_error_details(
                Code::ResourceExhausted,
                "too many streams are open; try again later",
                ErrorDetails::with_retry_info(Some(FULL_RETRY_DELAY)),
            ));
        };
        let peer = request.remote_addr().map(|peer| peer.ip().to_canonical());
        let shutdown = control.settings().shutdown.clone().cancelled_owned();
        let (metadata, _, inbound) = request.into_parts();
        Ok(Self {
            control: control.clone(),
            inbound,
            metadata,
            peer,
            active: None,
            shutdown: Box::pin(shutdown),
            _permit: permit,
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
            shutdown,
            ..
        } = &mut *self
        else {
            return Ok(None);
        };
        loop {
            if let Some(message) = active.client.next_message()? {
                return Ok(Some((message, self)));
            }
            tokio::select! {
                () = &mut *shutdown => return Err(stopping()),
                message = inbound.message() => match message {
                    Ok(Some(message)) => active.handle_message(message)?,
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
            () = &mut self.shutdown => return Err(stopping()),
            message = timeout(settings.hello_timeout, self.inbound.message()) => message,
        };
        let hello = match message {
            Ok(Ok(Some(message))) => C::hello(message)
                .ok_or_else(|| self.reject("NoHello", "the first message must be a hello"))?,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(status)) => return Err(status),
            Err(_) => {
                self.control.count_refused_stream(C::ENDPOINT, "NoHello");
                return Err(Status::deadline_exceeded("no hello in time; send it first"));
            }
        };
        let (metadata, peer) = (self.metadata.clone(), self.peer);
        let identifying = C::identify(&*settings.identify, &hello, metadata, peer)
            .map_err(|detail| self.reject("Malformed", &detail))?;
        // In a cluster this calls the API server, so it needs a timeout.
        let identified = tokio::select! {
            () = &mut self.shutdown => return Err(stopping()),
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
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                C::count_unreadable(&self.control);
                Err(status)
            }
            // Of a message that arrived only in part.
            Code::ResourceExhausted | Code::DeadlineExceeded => Err(status),
            _ => Ok(None),
        }
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
    name.len() <= MAX_INSTANCE_ID_BYTES && !name.chars().any(char::is_control)
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}
