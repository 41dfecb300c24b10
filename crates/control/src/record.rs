//! The record of one process.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spoor_policy::Version;
use spoor_proto::spoor::control::v1 as proto;

use crate::{
    RefusedPlan,
    coverage::Coverage,
    ledger::Ledger,
    lending::{Demands, Loan},
    served::Served,
};

/// The most reasons for dropped spans that are told apart, and the longest.
const MAX_REASONS: usize = 16;
const MAX_REASON_LEN: usize = 256;

/// An instance, from its first hello until it is forgotten.
#[derive(Debug)]
pub(crate) struct Record {
    /// Of its newest stream.
    pub(crate) generation: u64,
    pub(crate) is_connected: bool,
    pub(crate) first_seen: Instant,
    pub(crate) connected: Instant,
    pub(crate) heard: Instant,
    /// The sequences that it was sent, as far as the history goes back.
    pub(crate) sent: Vec<u64>,
    pub(crate) held: Option<Version>,
    pub(crate) took: Option<Duration>,
    pub(crate) refused: Option<RefusedPlan>,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
    pub(crate) demands: Demands,
    pub(crate) loan: Loan,
    pub(crate) spans_exported: u64,
    pub(crate) spans_dropped: BTreeMap<String, u64>,
}

/// Where an instance stands towards its service's newest plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Current,
    Refused(String),
    Silent,
    Pending,
}

impl Record {
    pub(crate) fn new(generation: u64, ledger: Ledger, now: Instant) -> Self {
        Self {
            generation,
            is_connected: true,
            first_seen: now,
            connected: now,
            heard: now,
            sent: vec![],
            held: None,
            took: None,
            refused: None,
            ledger,
            coverage: Coverage::default(),
            demands: Demands::default(),
            loan: Loan::default(),
            spans_exported: 0,
            spans_dropped: BTreeMap::new(),
        }
    }

    /// Notes the plan that was sent, which ends what was lent; versions before the oldest are of
    /// no use any more.
    pub(crate) fn sent(&mut self, sequence: u64, oldest: u64) {
        self.loan = Loan::default();
        if !self.sent.contains(&sequence) {
            self.sent.retain(|sent| *sent >= oldest);
            self.sent.push(sequence);
        }
    }

    pub(crate) fn was_sent(&self, version: Version, epoch: u64) -> bool {
        version.epoch == epoch && self.sent.contains(&version.sequence)
    }

    pub(crate) fn acknowledge(&mut self, version: Version, took: Option<Duration>) {
        if self.held.is_none_or(|held| held < version) {
            self.took = took;
            self.held = Some(version);
        }
        if self
            .refused
            .as_ref()
            .is_some_and(|it| it.version <= version)
        {
            self.refused = None;
        }
    }

    pub(crate) fn refuse(&mut self, version: Version, reason: &str) {
        self.refused = Some(RefusedPlan {
            version,
            reason: shortened(reason),
        });
    }

    pub(crate) fn spans(&mut self, report: &proto::Report) {
        self.spans_exported = report.spans_exported;
        for dropped in report.spans_dropped.iter().take(MAX_REASONS) {
            let is_new = !self.spans_dropped.contains_key(dropped.reason.as_str());
            if !is_new || self.spans_dropped.len() < MAX_REASONS {
                self.spans_dropped
                    .insert(shortened(&dropped.reason), dropped.spans);
            }
        }
    }

    pub(crate) fn standing(
        &self,
        served: Option<&Served>,
        silent_after: Duration,
        now: Instant,
    ) -> Standing {
        let Some(served) = served else {
            return Standing::Pending;
        };
        match &self.refused {
            Some(refused) if refused.version == served.version => {
                Standing::Refused(refused.reason.clone())
            }
            _ if self.is_silent(silent_after, now) => Standing::Silent,
            _ if self.held == Some(served.version) => Standing::Current,
            _ => Standing::Pending,
        }
    }

    pub(crate) fn is_silent(&self, silent_after: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) > silent_after
    }
}

fn shortened(text: &str) -> String {
    text.chars()
        .filter(|it| !it.is_control())
        .take(MAX_REASON_LEN)
        .collect()
}
