//! One open stream.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use spoor_policy::ServiceName;
use spoor_proto::spoor::control::v1::{ClientMessage, Hello, client_message::Message};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataMap};

use crate::{
    Caller, Control, Denied,
    heard::{MAX_INSTANCE_LEN, Seat},
    metrics::Door,
    served::Served,
    service::Outgoing,
};

/// A stream from its request to its end. Whoever polls it also hears its client, so it needs no
/// task and no queue of its own.
pub(crate) struct Session {
    control: Control,
    inbound: Streaming<ClientMessage>,
    metadata: MetadataMap,
    peer: Option<IpAddr>,
    seated: Option<Seated>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

struct Seated {
    seat: Seat,
    outgoing: watch::Receiver<Outgoing>,
    sent_plan: Option<Arc<Served>>,
    sent_faults: Option<Bytes>,
    sent_shares: Option<u64>,
    /// The value of [`Outgoing::shares`] that was last seen.
    seen_shares: u64,
    idle_after: Duration,
    heard: Instant,
    idle: Pin<Box<Sleep>>,
}

impl Session {
    /// Lets a stream in if there is room.
    pub(crate) fn open(
        control: &Control,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Self, Status> {
        let Ok(permit) = control.0.seats.clone().try_acquire_owned() else {
            control.0.metrics.refused(Door::Stream, "TooManyClients");
            return Err(Status::resource_exhausted("too many streams are open"));
        };
        let peer = request.remote_addr().map(|peer| peer.ip().to_canonical());
        let shutdown = control.0.settings.shutdown.clone().cancelled_owned();
        let (metadata, _, inbound) = request.into_parts();
        Ok(Self {
            control: control.clone(),
            inbound,
            metadata,
            peer,
            seated: None,
            shutdown: Box::pin(shutdown),
            _permit: permit,
        })
    }

    /// The next message for the client; none when it has gone.
    pub(crate) async fn next(mut self: Box<Self>) -> Result<Option<(Bytes, Box<Self>)>, Status> {
        if self.seated.is_none() {
            let Some(seated) = self.greet().await? else {
                return Ok(None);
            };
            self.seated = Some(seated);
        }
        let Self {
            inbound,
            seated: Some(seated),
            shutdown,
            ..
        } = &mut *self
        else {
            return Ok(None);
        };
        loop {
            if let Some(message) = seated.due()? {
                return Ok(Some((message, self)));
            }
            tokio::select! {
                () = &mut *shutdown => return Err(stopping()),
                message = inbound.message() => match message {
                    Ok(Some(message)) => seated.hear(message)?,
                    Ok(None) => return Ok(None),
                    Err(status) => return self.broken(status),
                },
                changed = seated.outgoing.changed() => changed.map_err(|_| stopping())?,
                () = &mut seated.idle => seated.check_idle()?,
            }
        }
    }

    /// Waits for the hello and takes a seat.
    async fn greet(&mut self) -> Result<Option<Seated>, Status> {
        let settings = &self.control.0.settings;
        let hello = tokio::select! {
            () = &mut self.shutdown => return Err(stopping()),
            hello = timeout(settings.hello_within, self.inbound.message()) => hello,
        };
        let hello = match hello {
            Ok(Ok(Some(ClientMessage {
                message: Some(Message::Hello(hello)),
            }))) => hello,
            Ok(Ok(Some(_))) => return Err(self.turned_away("NoHello", "say hello first")),
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(status)) => return Err(status),
            Err(_) => {
                self.control.0.metrics.refused(Door::Stream, "NoHello");
                return Err(Status::deadline_exceeded("said no hello"));
            }
        };
        let caller = self.caller(&hello)?;
        let identified = tokio::select! {
            () = &mut self.shutdown => return Err(stopping()),
            identified = timeout(settings.hello_within, settings.identify.stream(caller)) => {
                identified
            }
        };
        let identity = identified
            .unwrap_or_else(|_| Err(Denied::Unavailable("it took too long".to_owned())))
            .inspect_err(|denied| {
                self.control
                    .0
                    .metrics
                    .refused(Door::Stream, denied.reason());
            })?;
        let (seat, sent_plan) = self.control.seat(&identity, &hello)?;
        let heard = Instant::now();
        Ok(Some(Seated {
            outgoing: seat.outgoing(),
            seat,
            sent_plan,
            sent_faults: None,
            sent_shares: None,
            seen_shares: 0,
            idle_after: settings.idle_after,
            heard,
            idle: Box::pin(sleep_until(heard + settings.idle_after)),
        }))
    }

    /// A connection that breaks is no news: its client comes back.
    fn broken(&self, status: Status) -> Result<Option<(Bytes, Box<Self>)>, Status> {
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                self.control.0.metrics.rejected("Unreadable");
                Err(status)
            }
            _ => Ok(None),
        }
    }

    fn caller(&self, hello: &Hello) -> Result<Caller, Status> {
        let service = ServiceName::new(&hello.service)
            .map_err(|error| self.turned_away("Malformed", &format!("service {error}")))?;
        let Hello {
            instance, start, ..
        } = hello;
        let is_well_formed =
            |name: &str| name.len() <= MAX_INSTANCE_LEN && !name.chars().any(char::is_control);
        if instance.is_empty() || !is_well_formed(instance) || !is_well_formed(start) {
            let detail = format!(
                "instance and start must have at most {MAX_INSTANCE_LEN} bytes and no control character; instance at least one"
            );
            return Err(self.turned_away("Malformed", &detail));
        }
        Ok(Caller {
            metadata: self.metadata.clone(),
            peer: self.peer,
            service,
            instance: instance.clone(),
        })
    }

    fn turned_away(&self, reason: &'static str, detail: &str) -> Status {
        self.control.0.metrics.refused(Door::Stream, reason);
        Status::invalid_argument(detail)
    }
}

impl Seated {
    /// The first message that the client does not have yet: the plan, the faults, its shares.
    fn due(&mut self) -> Result<Option<Bytes>, Status> {
        let Outgoing {
            plan,
            faults,
            shares,
        } = self.outgoing.borrow_and_update().clone();
        if let Some(plan) = plan
            && !self
                .sent_plan
                .as_ref()
                .is_some_and(|sent| Arc::ptr_eq(sent, &plan))
        {
            self.seat.sent(&plan)?;
            let message = plan.message.clone();
            self.sent_plan = Some(plan);
            return Ok(Some(message));
        }
        if self.sent_faults.as_ref() != Some(&faults) {
            self.sent_faults = Some(faults.clone());
            return Ok(Some(faults));
        }
        if self.seen_shares != shares {
            self.seen_shares = shares;
            let newest = self.seat.shares(self.sent_shares);
            let (number, message) = newest.unzip();
            self.sent_shares = number.or(self.sent_shares);
            return Ok(message);
        }
        Ok(None)
    }

    fn hear(&mut self, message: ClientMessage) -> Result<(), Status> {
        self.heard = Instant::now();
        self.seat.hear(message)
    }

    fn check_idle(&mut self) -> Result<(), Status> {
        let until = self.heard + self.idle_after;
        if Instant::now() >= until {
            return Err(Status::deadline_exceeded("nothing was heard for too long"));
        }
        self.idle.as_mut().reset(until);
        Ok(())
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}
