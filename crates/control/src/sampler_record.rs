//! The state of one sampler.

use std::{sync::Arc, time::Instant};

use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;

use crate::{
    counts::MAX_DECISIONS_PER_SECOND,
    coverage::Coverage,
    record::shortened,
    rejection::Rejection,
    sampler_state::{RefusedRules, SamplerState},
    tail_ledger::{TailDelta, TailLedger, TailReportContext},
    tail_rules::{RulesHistory, ServedRules},
};

/// The most earlier processes of a sampler that are remembered, in case one connects again.
const MAX_FORMER_PROCESSES: usize = 4;

/// A sampler, from its first hello until its record is removed.
#[derive(Debug)]
pub(crate) struct SamplerRecord {
    stack: String,
    /// The number of its newest stream. A session with another number has been replaced.
    pub(crate) generation: u64,
    pub(crate) is_connected: bool,
    /// The sequences sent to it, as far back as the history goes. All of its processes share them,
    /// since a sampler keeps its rules when it restarts.
    sent: Vec<u64>,
    /// The newest version acknowledged.
    held: Option<Version>,
    refused: Option<RefusedRules>,
    process: SamplerProcess,
    /// The processes before this one, the latest first.
    former: Vec<SamplerProcess>,
}

/// One run of a sampler.
#[derive(Debug)]
struct SamplerProcess {
    start: String,
    first_seen: Instant,
    ledger: TailLedger,
    coverage: Coverage,
}

/// The decisions in a report that are new, and the time in which they were made.
pub(crate) struct ReportedDecisions {
    pub(crate) deltas: Vec<TailDelta>,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl SamplerRecord {
    /// A record for a sampler whose first process connects.
    pub(crate) fn new(start: &str, ledger: TailLedger, now: Instant) -> Self {
        Self {
            stack: String::new(),
            generation: 0,
            is_connected: false,
            sent: vec![],
            held: None,
            refused: None,
            process: SamplerProcess::new(start, ledger, now),
            former: vec![],
        }
    }

    /// Records a new stream, which replaces an open one.
    pub(crate) fn connect(&mut self, stack: &str, start: &str, generation: u64, now: Instant) {
        self.stack = stack.to_owned();
        self.generation = generation;
        self.is_connected = true;
        if self.process.start != start {
            self.change_process(start, now);
        }
    }

    /// Continues with the counts of another process, which start at zero if it is a new one.
    fn change_process(&mut self, start: &str, now: Instant) {
        // An earlier process connects again only if two run under one ID. Its counts must not be
        // added twice.
        let known = self.former.iter().position(|it| it.start == start);
        let next = match known {
            Some(known) => self.former.remove(known),
            None => SamplerProcess::new(start, TailLedger::default(), now),
        };
        let before = std::mem::replace(&mut self.process, next);
        self.former.insert(0, before);
        self.former.truncate(MAX_FORMER_PROCESSES);
        // The other process may have other rules.
        self.held = None;
        self.refused = None;
    }

    /// Records rules as sent. Versions before `oldest` are forgotten.
    pub(crate) fn record_sent(&mut self, sequence: u64, oldest: u64) {
        if !self.sent.contains(&sequence) {
            self.sent.retain(|sent| *sent >= oldest);
            self.sent.push(sequence);
        }
    }

    pub(crate) fn was_sent(&self, version: Version, epoch: u64) -> bool {
        version.epoch == epoch && self.sent.contains(&version.sequence)
    }

    pub(crate) fn acknowledge(&mut self, version: Version) {
        // A client may acknowledge an older version again, which does not replace the newer one.
        if self.held.is_none_or(|held| held < version) {
            self.held = Some(version);
        }
        self.refused.take_if(|it| it.version <= version);
    }

    pub(crate) fn refuse(&mut self, version: Version, reason: &str) {
        self.refused = Some(RefusedRules {
            version,
            reason: shortened(reason),
        });
    }

    /// Applies a report, either entirely or not at all.
    pub(crate) fn report(
        &mut self,
        report: &proto::TailReport,
        epoch: u64,
        history: &RulesHistory,
        now: Instant,
    ) -> Result<ReportedDecisions, Rejection> {
        let process = &mut self.process;
        // The age of the process, not of the stream: counts are cumulative over all its streams.
        let age = now.saturating_duration_since(process.first_seen);
        let context = TailReportContext {
            epoch,
            history,
            sent: &self.sent,
            max_decided: (age.as_secs() + 1).saturating_mul(MAX_DECISIONS_PER_SECOND),
        };
        let deltas = process.ledger.apply(&report.counts, &context)?;
        let made = (report.unix_millis > 0).then_some(report.unix_millis);
        // The first report covers the time since the hello.
        let first = made.and_then(|made| made.checked_sub(i64::try_from(age.as_millis()).ok()?));
        let (from, to) = process.coverage.advance(made, first, now);
        Ok(ReportedDecisions { deltas, from, to })
    }

    pub(crate) fn state(&self, instance: &str, served: Option<&Arc<ServedRules>>) -> SamplerState {
        let is_served = |version: Version| served.is_some_and(|served| served.version == version);
        SamplerState {
            stack: self.stack.clone(),
            instance: instance.to_owned(),
            connected: self.is_connected,
            held: self.held,
            current: self.held.is_some_and(is_served),
            refused: self.refused.clone(),
            refuses_current: self
                .refused
                .as_ref()
                .is_some_and(|it| is_served(it.version)),
        }
    }
}

impl SamplerProcess {
    fn new(start: &str, ledger: TailLedger, now: Instant) -> Self {
        Self {
            start: start.to_owned(),
            first_seen: now,
            ledger,
            coverage: Coverage::default(),
        }
    }
}
