//! The state of one process.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use spoor_policy::{Version, message::is_invisible};
use spoor_proto::spoor::control::v1::{self as proto, DroppedSpans};

use crate::{
    coverage::Coverage,
    ledger::Ledger,
    lending::{Demands, Loan},
    metrics::is_word,
    served_plan::ServedPlan,
};

/// The most reasons for dropped spans that are kept. Clients choose them, and 20,000 processes are
/// remembered, so they are few and short. Our own clients have four.
pub(crate) const MAX_DROP_REASONS: usize = 8;

/// The most characters of the reason for a refusal that are kept.
const MAX_REASON_CHARS: usize = 256;

/// A process, from its first hello until its record is removed.
#[derive(Debug)]
pub(crate) struct Record {
    /// The number of its newest stream. A session with another number has been replaced.
    pub(crate) generation: u64,
    pub(crate) is_connected: bool,
    pub(crate) first_seen: Instant,
    /// The start of its newest stream.
    pub(crate) connected_at: Instant,
    pub(crate) last_message: Instant,
    /// The sequences sent to it, as far back as the history goes.
    pub(crate) sent: Vec<u64>,
    /// The newest version acknowledged.
    pub(crate) held: Option<Version>,
    /// The time from publication to that acknowledgement.
    pub(crate) took: Option<Duration>,
    /// The version of the plan refused last and the reason, unless it or a later one has been
    /// acknowledged since.
    refused: Option<(Version, String)>,
    pub(crate) ledger: Ledger,
    pub(crate) coverage: Coverage,
    pub(crate) demands: Demands,
    pub(crate) loan: Loan,
    pub(crate) spans_exported: u64,
    pub(crate) spans_dropped: BTreeMap<String, u64>,
}

/// The state of a process or instance with respect to its service's newest plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlanState {
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
            connected_at: now,
            last_message: now,
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

    /// Records the end of its stream. When it reconnects, a plan with rate limits is sent to it again,
    /// which ends the shares of this stream.
    pub(crate) fn disconnect(&mut self) {
        self.is_connected = false;
        self.demands = Demands::default();
        self.loan = Loan::default();
    }

    /// Records a plan as sent, which ends all loans. Versions before `oldest` are forgotten.
    pub(crate) fn record_sent(&mut self, sequence: u64, oldest: u64) {
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
        // A client may acknowledge an older version again, which does not replace the newer one.
        if self.held.is_none_or(|held| held < version) {
            self.took = took;
            self.held = Some(version);
        }
        self.refused.take_if(|(refused, _)| *refused <= version);
    }

    pub(crate) fn refuse(&mut self, version: Version, reason: &str) {
        self.refused = Some((version, shortened(reason)));
    }

    pub(crate) fn record_spans(&mut self, report: &proto::Report) {
        self.spans_exported = report.spans_exported;
        let dropped = report.spans_dropped.iter().take(MAX_DROP_REASONS);
        for DroppedSpans { reason, spans } in dropped.filter(|it| is_word(&it.reason)) {
            // If there are too many reasons, known ones are still updated.
            let is_known = self.spans_dropped.contains_key(reason);
            if is_known || self.spans_dropped.len() < MAX_DROP_REASONS {
                self.spans_dropped.insert(reason.clone(), *spans);
            }
        }
    }

    pub(crate) fn plan_state(
        &self,
        served: Option<&ServedPlan>,
        silent_after: Duration,
        now: Instant,
    ) -> PlanState {
        let Some(served) = served else {
            return PlanState::Pending;
        };
        let silence = now.saturating_duration_since(self.last_message);
        match &self.refused {
            // A refusal takes precedence over silence: it is the reason that a person can act on.
            Some((refused, reason)) if *refused == served.version => {
                PlanState::Refused(reason.clone())
            }
            _ if silence > silent_after => PlanState::Silent,
            _ if self.held == Some(served.version) => PlanState::Current,
            _ => PlanState::Pending,
        }
    }
}

/// The beginning of a reason, without line breaks and other characters that control or reorder text,
/// for statuses and the log.
pub(crate) fn shortened(text: &str) -> String {
    text.chars()
        .filter(|it| !is_invisible(*it))
        .take(MAX_REASON_CHARS)
        .collect()
}
