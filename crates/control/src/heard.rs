//! The messages of a stream's client, from its hello to its end.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;
use tokio::{runtime::Handle, sync::watch};
use tonic::Status;

use crate::{
    Control, Denied, Identity,
    control::Departed,
    ledger::{Bounds, Ledger, MAX_DECISIONS_PER_SECOND, Rejection},
    metrics::Door,
    record::Record,
    served::{self, Served},
    service::{Outgoing, Owned, Service, State},
    tally::Tally,
};

/// The longest `service.instance.id`, in bytes.
pub(crate) const MAX_INSTANCE_LEN: usize = 256;

/// A process's place while its stream is open.
///
/// Its instance is fixed by the hello; no later message names it, so that a stream can only
/// ever speak for itself.
pub(crate) struct Seat {
    control: Control,
    service: Arc<Service>,
    /// Its instance, by its identity.
    instance: Arc<str>,
    /// Which process of the instance it is, by its own word.
    start: Arc<str>,
    generation: u64,
    /// Once it has sent nonsense, there is no news in more of it.
    has_warned: AtomicBool,
}

impl Control {
    /// Seats a process, and says what it holds already if that is its service's newest plan.
    pub(crate) fn seat(
        &self,
        identity: &Identity,
        hello: &proto::Hello,
    ) -> Result<(Seat, Option<Arc<Served>>), Status> {
        let key = (identity.namespace.clone(), identity.service.clone());
        let Some(service) = self.0.enter(&key) else {
            self.0.metrics.refused(Door::Stream, "TooManyServices");
            return Err(Status::resource_exhausted("too many services are known"));
        };
        let seat = Seat {
            control: self.clone(),
            instance: identity.instance.as_str().into(),
            start: start(hello).into(),
            generation: self.next_generation(),
            service,
            has_warned: AtomicBool::new(false),
        };
        // Its end takes it back, also if there is no place for it.
        self.0.metrics.subscribers.inc();
        let held = seat.sit_down(hello)?;
        seat.settle();
        self.0.tick();
        Ok((seat, held))
    }
}

impl Seat {
    /// The messages that its stream should have.
    pub(crate) fn outgoing(&self) -> watch::Receiver<Outgoing> {
        self.service.outgoing.subscribe()
    }

    /// Notes that a plan is on its way.
    pub(crate) fn sent(&self, served: &Served) -> Result<(), Status> {
        let mut state = self.service.state();
        let oldest = state.history.oldest();
        let record = self.record(&mut state)?;
        record.sent(served.version.sequence, oldest);
        self.control.0.metrics.pushes.inc();
        Ok(())
    }

    /// The process's shares of rate limits, unless they have this number.
    pub(crate) fn shares(&self, sent: Option<u64>) -> Option<(u64, Bytes)> {
        let mut state = self.service.state();
        let record = self.record(&mut state).ok()?;
        record.loan.newest(sent)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// The status that the stream ends with. A message that is only not believed is counted and
    /// passed over.
    pub(crate) fn hear(&self, message: proto::ClientMessage) -> Result<(), Status> {
        use proto::client_message::Message;
        let heard = match message.message {
            Some(Message::Acknowledgement(acknowledgement)) => self.acknowledged(&acknowledgement),
            Some(Message::Refusal(refusal)) => self.refused(&refusal),
            Some(Message::Report(report)) => self.reported(&report),
            Some(Message::Hello(_)) => return Err(Status::invalid_argument("hello comes once")),
            // A later version of the protocol may say more.
            None => return Ok(()),
        };
        match heard? {
            Ok(()) => {
                // Polling clients go without a word.
                self.settle();
                self.control.lend(&self.service);
                self.control.0.tick();
            }
            Err(rejection) => {
                self.control.0.metrics.rejected(rejection.reason());
                self.warn("passed over a message that can't be true", &rejection);
            }
        }
        Ok(())
    }

    fn acknowledged(
        &self,
        acknowledgement: &proto::Acknowledgement,
    ) -> Result<Result<(), Rejection>, Status> {
        let now = Instant::now();
        let mut state = self.service.state();
        let served = state.served.clone();
        let record = self.heard(&mut state, now)?;
        let version = match self.version(record, acknowledgement.version.as_ref()) {
            Ok(version) => version,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let took = served
            .filter(|served| served.version == version && record.held != Some(version))
            .map(|served| now.saturating_duration_since(served.published.max(record.connected)));
        record.acknowledge(version, took);
        drop(state);
        self.control.0.metrics.acknowledgements.inc();
        if let Some(took) = took {
            self.control.0.metrics.propagated(took);
        }
        Ok(Ok(()))
    }

    fn refused(&self, refusal: &proto::Refusal) -> Result<Result<(), Rejection>, Status> {
        let mut state = self.service.state();
        let record = self.heard(&mut state, Instant::now())?;
        let version = match self.version(record, refusal.version.as_ref()) {
            Ok(version) => version,
            Err(rejection) => return Ok(Err(rejection)),
        };
        record.refuse(version, &refusal.reason);
        drop(state);
        self.control.0.metrics.plan_refused(&refusal.reason);
        self.warn("an instance refused its plan", &refusal.reason);
        Ok(Ok(()))
    }

    fn reported(&self, report: &proto::Report) -> Result<Result<(), Rejection>, Status> {
        let now = Instant::now();
        let mut state = self.service.state();
        let state = &mut *state;
        let epoch = self.control.0.settings.epoch;
        let processes = state.instances.get_mut(&self.instance);
        let record = match processes.and_then(|it| it.get_mut(&self.start)) {
            Some(record) if record.generation == self.generation => record,
            _ => return Err(replaced()),
        };
        record.heard = now;
        let age = now.saturating_duration_since(record.first_seen).as_secs();
        let bounds = Bounds {
            epoch,
            history: &state.history,
            sent: &record.sent,
            most: (age + 1).saturating_mul(MAX_DECISIONS_PER_SECOND),
        };
        let deltas = match record.ledger.take(&report.counts, &bounds) {
            Ok(deltas) => deltas,
            Err(rejection) => return Ok(Err(rejection)),
        };
        record.spans(report);
        let first = report.counts.iter().map(|count| count.first_unix_millis);
        let (from, to) = record
            .coverage
            .advance(report.unix_millis, first.min(), now);
        record
            .demands
            .add(&deltas, to.saturating_duration_since(from));
        record.loan.confirm(report.shares);
        state.first_report.get_or_insert(now);
        let owned = state.add(&deltas);
        self.tally(owned, from, to);
        self.control.0.metrics.reports.inc();
        Ok(Ok(()))
    }

    /// Puts counts down to the policies that decided them, as far as these still decide the same.
    fn tally(&self, owned: Vec<Owned>, from: Instant, to: Instant) {
        if owned.is_empty() {
            return;
        }
        let inner = &*self.control.0;
        let mut tallies = inner.tallies.lock();
        // Under the lock: what is published later clears what was tallied before.
        let published = inner.published.load_full();
        for owned in owned {
            let Owned {
                policy,
                strategy,
                counts,
                ..
            } = &owned;
            let decides = published
                .as_ref()
                .is_some_and(|published| published.decides(&self.service, &owned));
            if decides {
                tallies
                    .entry((self.service.namespace.clone(), policy.clone(), *strategy))
                    .or_insert_with(|| Tally::new(*strategy, inner.settings.window, from))
                    .add(*counts, from, to);
            }
        }
    }

    fn version(
        &self,
        record: &Record,
        version: Option<&proto::Version>,
    ) -> Result<Version, Rejection> {
        let version = served::from_proto(version).ok_or(Rejection::NoVersion)?;
        match record.was_sent(version, self.control.0.settings.epoch) {
            true => Ok(version),
            false => Err(Rejection::NeverSent),
        }
    }

    fn warn(&self, what: &str, reason: &dyn fmt::Display) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            let (service, instance) = (&self.service.name, &self.instance);
            tracing::warn!(%service, %instance, %reason, "{what}");
        }
    }

    fn sit_down(&self, hello: &proto::Hello) -> Result<Option<Arc<Served>>, Status> {
        let now = Instant::now();
        let mut state = self.service.state();
        let state = &mut *state;
        let served = state.served.clone();
        let held = served::from_proto(hello.held.as_ref());
        let is_known_epoch = held.is_some_and(|it| it.epoch == self.control.0.settings.epoch);
        if *hello.instance != *self.instance && state.knows(&hello.instance) {
            return Err(self.refused_as(Denied::OtherInstance {
                claimed: hello.instance.clone(),
                actual: self.instance.to_string(),
            }));
        }
        let processes = state.instances.entry(self.instance.clone()).or_default();
        let Some(record) = processes.get_mut(&self.start) else {
            if !processes.make_room() {
                self.control
                    .0
                    .metrics
                    .refused(Door::Stream, "TooManyStreams");
                return Err(too_many_streams());
            }
            let ledger = match (&served, is_known_epoch) {
                (Some(served), true) => Ledger::resumed_at(served.version.sequence),
                _ => Ledger::default(),
            };
            let record = Record::new(self.generation, ledger, now);
            processes.insert(self.start.clone(), record);
            state.live += 1;
            return Ok(None);
        };
        let was_connected = record.is_connected;
        record.generation = self.generation;
        record.is_connected = true;
        (record.connected, record.heard) = (now, now);
        let Some(served) = served else {
            state.live += usize::from(!was_connected);
            return Ok(None);
        };
        let is_current = held == Some(served.version)
            && hello.held_digest[..] == served.digest.0.to_be_bytes()
            && record.was_sent(served.version, self.control.0.settings.epoch);
        if is_current {
            // The acknowledgement may have been lost with the stream before.
            record.acknowledge(served.version, None);
        }
        state.live += usize::from(!was_connected);
        Ok(is_current.then_some(served))
    }

    fn refused_as(&self, denied: Denied) -> Status {
        let metrics = &self.control.0.metrics;
        metrics.refused(Door::Stream, denied.reason());
        denied.into()
    }

    fn stand_up(&self) {
        let mut state = self.service.state();
        match state.process(&self.instance, &self.start) {
            Some(record) if record.generation == self.generation => record.is_connected = false,
            _ => return,
        }
        state.live = state.live.saturating_sub(1);
        drop(state);
        self.control.departed(Departed {
            service: (self.service.namespace.clone(), self.service.name.clone()),
            instance: self.instance.clone(),
            start: self.start.clone(),
            generation: self.generation,
        });
    }

    /// Has the service's rate limit shared out anew, if it has one and its instances have become
    /// more or fewer.
    fn settle(&self) {
        self.control.settle(&self.service);
    }

    fn heard<'a>(&self, state: &'a mut State, now: Instant) -> Result<&'a mut Record, Status> {
        let record = self.record(state)?;
        record.heard = now;
        Ok(record)
    }

    fn record<'a>(&self, state: &'a mut State) -> Result<&'a mut Record, Status> {
        match state.process(&self.instance, &self.start) {
            Some(record) if record.generation == self.generation => Ok(record),
            _ => Err(replaced()),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.control.0.metrics.subscribers.dec();
        self.stand_up();
        self.settle();
        self.control.0.tick();
    }
}

impl Control {
    pub(crate) fn settle(&self, service: &Arc<Service>) {
        let shares = service.state().served.as_ref().and_then(|it| it.shares);
        let is_settled = shares.is_none_or(|shares| shares == self.0.sharers(service));
        if is_settled || service.is_settling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (control, service) = (self.clone(), service.clone());
        let Ok(runtime) = Handle::try_current() else {
            // The runtime is gone, and with it everyone to tell.
            service.is_settling.store(false, Ordering::Release);
            return;
        };
        runtime.spawn(async move {
            let settings = &control.0.settings;
            let stop = settings.shutdown.cancelled();
            let is_over = tokio::time::timeout(settings.settle, stop).await;
            service.is_settling.store(false, Ordering::Release);
            if is_over.is_err() {
                control.0.share_anew(&service);
            }
        });
    }

    /// Remembers who is gone for the case that it comes back, up to a number.
    fn departed(&self, process: Departed) {
        let mut departed = self.0.departed.lock();
        departed.push_back(process);
        let oldest = match departed.len() > self.0.settings.max_clients {
            true => departed.pop_front(),
            false => None,
        };
        drop(departed);
        if let Some(process) = oldest
            && let Some(service) = self.0.services.get(&process.service)
        {
            service.state().forget(&process);
        }
    }
}

/// The name that tells a process from the others of its instance.
fn start(hello: &proto::Hello) -> &str {
    match hello.start.as_str() {
        "" => &hello.instance,
        start => start,
    }
}

fn replaced() -> Status {
    Status::aborted("this process has opened another stream")
}

fn too_many_streams() -> Status {
    Status::resource_exhausted("this instance has too many streams open")
}
