//! A connected process, from its hello to the end of its stream.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;
use tokio::sync::watch;
use tonic::Status;

use crate::{
    control::Control,
    counts::MAX_DECISIONS_PER_SECOND,
    identity::{Denied, Identity},
    ledger::{Ledger, ReportContext},
    metrics::Endpoint,
    processes::Processes,
    record::{self, Record},
    rejection::{MessageError, Rejection},
    served_plan::{self, ServedPlan},
    service::{Instances, Outgoing, Service},
    stream_warnings::StreamWarnings,
};

/// The registration of a connected process. Dropping it disconnects the process.
///
/// The hello fixes the instance, and no later message names one, so that a stream can only report
/// for itself.
pub(crate) struct Session {
    control: Control,
    service: Arc<Service>,
    /// The instance's ID, from the client's identity.
    instance: Arc<str>,
    /// The process's ID among those of its instance, as the client claims it.
    start: Arc<str>,
    generation: u64,
    warnings: StreamWarnings,
}

impl Session {
    /// Registers a process. Returns the newest plan if the process holds it and need not receive it
    /// again.
    pub(crate) fn register(
        control: &Control,
        identity: &Identity,
        hello: &proto::Hello,
    ) -> Result<(Self, Option<Arc<ServedPlan>>), Status> {
        let key = (identity.namespace.clone(), identity.service.clone());
        let Some(service) = control.service_or_insert(&key) else {
            control.count_refused_stream(Endpoint::Stream, "TooManyServices");
            return Err(Status::resource_exhausted(
                "too many services are connected; try again later",
            ));
        };
        let session = Self {
            control: control.clone(),
            instance: identity.instance.as_str().into(),
            start: process_start(hello).into(),
            generation: control.next_generation(),
            service,
            warnings: StreamWarnings::default(),
        };
        // Before the process is inserted, which may fail: dropping the session decrements it.
        control.metrics().subscribers.inc();
        let held = session.insert_process(hello)?;
        control.schedule_rebalance(&session.service);
        control.notify_change();
        Ok((session, held))
    }

    /// The newest messages for the stream.
    pub(crate) fn outgoing(&self) -> watch::Receiver<Outgoing> {
        self.service.subscribe()
    }

    /// Records a plan as sent.
    pub(crate) fn record_sent(&self, served: &ServedPlan) -> Result<(), Status> {
        let mut state = self.service.state();
        let oldest = state.history.oldest();
        let record = self.record(&mut state.instances)?;
        record.record_sent(served.version.sequence, oldest);
        self.control.metrics().pushes.inc();
        Ok(())
    }

    /// The newest shares of the process with their number, unless `sent` is that number.
    pub(crate) fn shares(&self, sent: Option<u64>) -> Option<(u64, Bytes)> {
        let mut state = self.service.state();
        let record = self.record(&mut state.instances).ok()?;
        // Shares are lent only under the plan that the process holds.
        record.loan.newest(record.held?, sent)
    }

    /// Handles a message after the hello. An invalid one is counted and ignored.
    ///
    /// # Errors
    /// The status that the stream ends with.
    pub(crate) fn handle_message(&self, message: proto::ClientMessage) -> Result<(), Status> {
        use proto::client_message::Message;
        let handled = match message.message {
            Some(Message::Acknowledgement(acknowledgement)) => {
                self.handle_acknowledgement(&acknowledgement)
            }
            Some(Message::Refusal(refusal)) => self.handle_refusal(&refusal),
            Some(Message::Report(report)) => self.handle_report(&report),
            Some(Message::Hello(_)) => {
                return Err(Status::invalid_argument("hello sent twice; send it once"));
            }
            // A message that a later version of the protocol added.
            None => return Ok(()),
        };
        match handled {
            Ok(()) => {
                // Polling clients send nothing when they stop, so their number is checked here.
                self.control.schedule_rebalance(&self.service);
                self.control.lend(&self.service);
                self.control.notify_change();
            }
            Err(MessageError::StreamEnded(status)) => return Err(status),
            Err(MessageError::Rejected(rejection)) => {
                self.control.metrics().count_rejected(rejection);
                if rejection == Rejection::TooManyCounts {
                    self.control.forget_disconnected();
                    self.warn("ignored the counts of a report", &rejection);
                } else {
                    self.warn("ignored an invalid message", &rejection);
                }
            }
        }
        Ok(())
    }

    fn handle_acknowledgement(
        &self,
        acknowledgement: &proto::Acknowledgement,
    ) -> Result<(), MessageError> {
        let now = Instant::now();
        let mut state = self.service.state();
        let served = state.served.clone();
        let record = self.record_message(&mut state.instances, now)?;
        let version = self.check_version(record, acknowledgement.version.as_ref())?;
        let took = served
            // Repeated acknowledgements, and the time before the instance connected, are not part
            // of the propagation time.
            .filter(|served| served.version == version && record.held != Some(version))
            .map(|served| now.saturating_duration_since(served.published.max(record.connected_at)));
        record.acknowledge(version, took);
        drop(state);
        self.control.metrics().acknowledgements.inc();
        if let Some(took) = took {
            self.control.metrics().observe_propagation(took);
        }
        Ok(())
    }

    fn handle_refusal(&self, refusal: &proto::Refusal) -> Result<(), MessageError> {
        let mut state = self.service.state();
        let record = self.record_message(&mut state.instances, Instant::now())?;
        let version = self.check_version(record, refusal.version.as_ref())?;
        record.refuse(version, &refusal.reason);
        drop(state);
        self.control.metrics().count_refused_plan(&refusal.reason);
        let reason = record::shortened(&refusal.reason);
        self.warn("instance refused its plan", &reason);
        Ok(())
    }

    fn handle_report(&self, report: &proto::Report) -> Result<(), MessageError> {
        let now = Instant::now();
        let mut state = self.service.state();
        let state = &mut *state;
        let epoch = self.control.settings().epoch;
        let record = self.record_message(&mut state.instances, now)?;
        // The age of the process, not of the stream: counts are cumulative over all its streams.
        let age = now.saturating_duration_since(record.first_seen).as_secs();
        let context = ReportContext {
            epoch,
            history: &state.history,
            sent: &record.sent,
            max_started: (age + 1).saturating_mul(MAX_DECISIONS_PER_SECOND),
            room: self.control.count_room(),
        };
        let applied = record.ledger.apply(&report.counts, &context);
        // Even if the report is rejected: the ledger may have fewer counts than before.
        record.demands.limit_to(record.ledger.operations());
        // Only once the ledger has checked the counts: an invalid report must add nothing. A report
        // whose counts do not fit is valid.
        if matches!(applied, Ok(_) | Err(Rejection::TooManyCounts)) {
            record.record_spans(report);
            record.loan.confirm(report.shares);
        }
        let deltas = applied?;
        let first = report.counts.iter().map(|count| count.first_unix_millis);
        let (from, to) = record
            .coverage
            .advance(report.unix_millis, first.min(), now);
        record
            .demands
            .add(&deltas, to.saturating_duration_since(from));
        record.demands.limit_to(record.ledger.operations());
        state.first_report.get_or_insert(now);
        let attributed = state.add(&deltas);
        self.control.tally(&self.service, &attributed, (from, to));
        self.control.metrics().reports.inc();
        Ok(())
    }

    fn check_version(
        &self,
        record: &Record,
        version: Option<&proto::Version>,
    ) -> Result<Version, Rejection> {
        let version = served_plan::version_from_proto(version).ok_or(Rejection::NoVersion)?;
        match record.was_sent(version, self.control.settings().epoch) {
            true => Ok(version),
            false => Err(Rejection::NeverSent),
        }
    }

    fn warn(&self, what: &str, reason: &dyn fmt::Display) {
        if let Some(suppressed) = self.warnings.admit() {
            let (service, instance) = (&self.service.key.1, &self.instance);
            tracing::warn!(%service, %instance, %reason, suppressed, "{what}");
        }
    }

    fn insert_process(&self, hello: &proto::Hello) -> Result<Option<Arc<ServedPlan>>, Status> {
        let now = Instant::now();
        let mut state = self.service.state();
        let state = &mut *state;
        let served = state.served.clone();
        let held = served_plan::version_from_proto(hello.held.as_ref());
        let is_known_epoch = held.is_some_and(|it| it.epoch == self.control.settings().epoch);
        // The claimed ID may differ from the one in the credentials, but must not be that of another
        // known instance.
        if *hello.instance != *self.instance && state.has_instance(&hello.instance) {
            let denied = Denied::OtherInstance {
                claimed: hello.instance.clone(),
                actual: self.instance.to_string(),
            };
            self.control
                .count_refused_stream(Endpoint::Stream, denied.reason());
            return Err(denied.into());
        }
        let processes = state.instances.entry(self.instance.clone()).or_default();
        let Some(record) = processes.get_mut(&self.start) else {
            // A process that holds a version of this epoch and has no record was forgotten. Its
            // counts so far are already included in the sums.
            let ledger = match (&served, is_known_epoch) {
                (Some(served), true) => Ledger::resume_at(served.version.sequence),
                _ => Ledger::default(),
            };
            let record = Record::new(self.generation, ledger, now);
            if !processes.try_insert(self.start.clone(), record) {
                self.control
                    .count_refused_stream(Endpoint::Stream, "TooManyStreams");
                return Err(Status::resource_exhausted(
                    "this instance has too many open streams; close some of them",
                ));
            }
            state.connected += 1;
            return Ok(None);
        };
        let was_connected = record.is_connected;
        record.generation = self.generation;
        record.is_connected = true;
        (record.connected_at, record.last_message) = (now, now);
        // A new stream may replace one whose end has not been noticed yet.
        state.connected += usize::from(!was_connected);
        let Some(served) = served else {
            return Ok(None);
        };
        // A plan with rate limits is sent again, since its shares ended with the last stream.
        let is_current = held == Some(served.version)
            && served.sharers.is_none()
            && hello.held_digest[..] == served.digest.0.to_be_bytes()
            && record.was_sent(served.version, self.control.settings().epoch);
        if is_current {
            // The acknowledgement may have been lost when the last stream broke.
            record.acknowledge(served.version, None);
        }
        Ok(is_current.then_some(served))
    }

    fn disconnect(&self) {
        let mut state = self.service.state();
        match self.record(&mut state.instances) {
            Ok(record) => record.disconnect(),
            // A replaced session must not disconnect its successor.
            Err(_) => return,
        }
        state.connected = state.connected.saturating_sub(1);
        let processes = state.instances.get(&self.instance);
        let disconnected = processes.map_or(0, Processes::disconnected);
        drop(state);
        let instance = (self.service.key.clone(), self.instance.clone());
        self.control.remember_disconnected(instance, disconnected);
    }

    fn record_message<'a>(
        &self,
        instances: &'a mut Instances,
        now: Instant,
    ) -> Result<&'a mut Record, Status> {
        let record = self.record(instances)?;
        record.last_message = now;
        Ok(record)
    }

    /// The process's record, unless a newer stream of the process has replaced this one.
    fn record<'a>(&self, instances: &'a mut Instances) -> Result<&'a mut Record, Status> {
        let processes = instances.get_mut(&self.instance);
        match processes.and_then(|it| it.get_mut(&self.start)) {
            Some(record) if record.generation == self.generation => Ok(record),
            _ => Err(Status::aborted("this process has opened another stream")),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.control.metrics().subscribers.dec();
        self.disconnect();
        self.control.schedule_rebalance(&self.service);
        self.control.notify_change();
    }
}

/// The ID of a process among those of its instance. Clients that send none have a new instance ID
/// after each restart, which then identifies the process.
fn process_start(hello: &proto::Hello) -> &str {
    match hello.start.as_str() {
        "" => &hello.instance,
        start => start,
    }
}

#[cfg(test)]
mod tests;
