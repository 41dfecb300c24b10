//! A connected sampler, from its hello to the end of its stream.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use spoor_policy::{Digest, Version};
use spoor_proto::spoor::control::v1 as proto;
use tokio::sync::watch;
use tonic::Status;

use crate::{
    control::Control,
    identity::SamplerIdentity,
    record,
    rejection::{MessageError, Rejection},
    sampler_record::SamplerRecord,
    samplers::{DisconnectedSampler, NamespaceSamplers, SamplerOutgoing},
    served_plan::version_from_proto,
    stream_warnings::StreamWarnings,
    tail_ledger::TailLedger,
    tail_rules::ServedRules,
};

/// The registration of a connected sampler. Dropping it disconnects the sampler.
pub(crate) struct SamplerSession {
    control: Control,
    samplers: Arc<NamespaceSamplers>,
    instance: Arc<str>,
    generation: u64,
    warnings: StreamWarnings,
}

impl SamplerSession {
    /// Registers a sampler, and returns the rules that it already holds if those are the newest.
    pub(crate) fn register(
        control: &Control,
        identity: &SamplerIdentity,
        hello: &proto::SamplerHello,
    ) -> (Self, Option<Arc<ServedRules>>) {
        let session = Self {
            control: control.clone(),
            samplers: control.samplers_or_insert(&identity.namespace),
            instance: identity.instance.as_str().into(),
            generation: control.next_generation(),
            warnings: StreamWarnings::default(),
        };
        let held = session.insert_sampler(&identity.stack, hello);
        control.metrics().samplers.connected.inc();
        control.notify_change();
        (session, held)
    }

    /// The newest messages for the stream.
    pub(crate) fn outgoing(&self) -> watch::Receiver<SamplerOutgoing> {
        self.samplers.subscribe()
    }

    /// Records rules as sent.
    pub(crate) fn record_sent(&self, served: &ServedRules) -> Result<(), Status> {
        let mut state = self.samplers.state();
        let oldest = state.history.oldest();
        let record = self.record(&mut state.records)?;
        record.record_sent(served.version.sequence, oldest);
        self.control.metrics().samplers.pushes.inc();
        Ok(())
    }

    /// Counts rings as sent. Samplers do not acknowledge rings, but report their generation in a
    /// metric, so nothing else is recorded.
    pub(crate) fn count_rings_sent(&self) {
        self.control.metrics().samplers.ring_pushes.inc();
    }

    /// Handles a message after the hello. An invalid one is counted and ignored.
    ///
    /// # Errors
    /// The status that the stream ends with.
    pub(crate) fn handle_message(&self, message: proto::SamplerMessage) -> Result<(), Status> {
        use proto::sampler_message::Message;
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
            Ok(()) => self.control.notify_change(),
            Err(MessageError::StreamEnded(status)) => return Err(status),
            Err(MessageError::Rejected(rejection)) => {
                self.control.metrics().samplers.count_rejected(rejection);
                self.warn("ignored an invalid message of a sampler", &rejection);
            }
        }
        Ok(())
    }

    fn handle_acknowledgement(
        &self,
        acknowledgement: &proto::Acknowledgement,
    ) -> Result<(), MessageError> {
        let mut state = self.samplers.state();
        let record = self.record(&mut state.records)?;
        let version = self.check_version(record, acknowledgement.version.as_ref())?;
        record.acknowledge(version);
        self.control.metrics().samplers.acknowledgements.inc();
        Ok(())
    }

    fn handle_refusal(&self, refusal: &proto::Refusal) -> Result<(), MessageError> {
        let mut state = self.samplers.state();
        let record = self.record(&mut state.records)?;
        let version = self.check_version(record, refusal.version.as_ref())?;
        record.refuse(version, &refusal.reason);
        drop(state);
        self.control.metrics().count_refused_rules(&refusal.reason);
        let reason = record::shortened(&refusal.reason);
        self.warn("sampler refused its tail rules", &reason);
        Ok(())
    }

    fn handle_report(&self, report: &proto::TailReport) -> Result<(), MessageError> {
        let now = Instant::now();
        let settings = self.control.settings();
        let mut state = self.samplers.state();
        let state = &mut *state;
        let record = self.record(&mut state.records)?;
        let reported = record.report(report, settings.epoch, &state.history, now)?;
        state.add(&reported, settings.window);
        self.control.metrics().samplers.reports.inc();
        Ok(())
    }

    fn check_version(
        &self,
        record: &SamplerRecord,
        version: Option<&proto::Version>,
    ) -> Result<Version, Rejection> {
        let version = version_from_proto(version).ok_or(Rejection::NoVersion)?;
        match record.was_sent(version, self.control.settings().epoch) {
            true => Ok(version),
            false => Err(Rejection::NeverSent),
        }
    }

    fn warn(&self, what: &str, reason: &dyn fmt::Display) {
        if let Some(suppressed) = self.warnings.admit() {
            let (namespace, instance) = (self.samplers.namespace(), &self.instance);
            tracing::warn!(%namespace, %instance, %reason, suppressed, "{what}");
        }
    }

    fn insert_sampler(&self, stack: &str, hello: &proto::SamplerHello) -> Option<Arc<ServedRules>> {
        let now = Instant::now();
        let mut state = self.samplers.state();
        let state = &mut *state;
        let held = version_from_proto(hello.held.as_ref());
        let newest = state.served.as_ref().map(|served| served.version.sequence);
        let record = state
            .records
            .entry(self.instance.clone())
            .or_insert_with(|| {
                SamplerRecord::new(&hello.start, self.ledger_of_unknown(held, newest), now)
            });
        record.connect(stack, &hello.start, self.generation, now);
        let served = state.served.clone()?;
        if !has_digest(hello, served.digest) {
            return None;
        }
        // The same rules under another version, from an earlier control plane or publication, are
        // regarded as acknowledged and sent once more: the sampler counts by version, and counts
        // under a version that was not sent to it cannot be checked.
        record.acknowledge(served.version);
        if held != Some(served.version) {
            return None;
        }
        record.record_sent(served.version.sequence, state.history.oldest());
        Some(served)
    }

    /// The ledger of a sampler without a record. A sampler that holds a version of this control
    /// plane had a record, which has been removed. One that holds a version of another may have had
    /// a record before: it also reports the counts of that time. `newest` is the sequence that is
    /// served now.
    fn ledger_of_unknown(&self, held: Option<Version>, newest: Option<u64>) -> TailLedger {
        match (held, newest) {
            (Some(held), _) if held.epoch == self.control.settings().epoch => {
                TailLedger::resume_at(held.sequence)
            }
            (Some(_), Some(newest)) => TailLedger::forgotten_until(newest),
            _ => TailLedger::default(),
        }
    }

    /// The sampler's record, unless a newer stream of the sampler has replaced this one.
    fn record<'a>(
        &self,
        records: &'a mut BTreeMap<Arc<str>, SamplerRecord>,
    ) -> Result<&'a mut SamplerRecord, Status> {
        match records.get_mut(&self.instance) {
            Some(record) if record.generation == self.generation => Ok(record),
            _ => Err(replaced()),
        }
    }

    fn disconnect(&self) {
        let mut state = self.samplers.state();
        match state.records.get_mut(&self.instance) {
            // A replaced session must not disconnect its successor.
            Some(record) if record.generation == self.generation => record.is_connected = false,
            _ => return,
        }
        drop(state);
        self.control
            .remember_disconnected_sampler(DisconnectedSampler {
                namespace: self.samplers.namespace().clone(),
                instance: self.instance.clone(),
                generation: self.generation,
            });
    }
}

impl Drop for SamplerSession {
    fn drop(&mut self) {
        self.control.metrics().samplers.connected.dec();
        self.disconnect();
        self.control.notify_change();
    }
}

fn has_digest(hello: &proto::SamplerHello, digest: Digest) -> bool {
    hello.held_digest[..] == digest.0.to_be_bytes()
}

fn replaced() -> Status {
    Status::aborted("this sampler has opened another stream")
}
