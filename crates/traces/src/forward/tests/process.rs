//! A forwarder's state, without tasks, which can be killed.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status},
};
use parking_lot::MutexGuard;
use prost::Message;
use spoor_policy::{
    Namespace, Policy, PolicyFields, PolicyKey, PolicyName, Rule, RuleCondition, RuleName,
    ServiceName, TailPolicy, TailTable, Target, resolve,
};
use tempfile::TempDir;

use crate::{
    Forwarder, Rejected, TailSettings, Totals,
    forward::{
        Batch, ForwardedPart, ForwarderSettings, JournalId, JournalSettings, PeerSettings,
        Recovery, Rings, journal, journaled::Journaled, outgoing::Outgoing, state::State,
    },
    memory::Reservation,
    receiver::AcceptError,
    scan::{SourceLimits, scan_within},
    tail::TailSampler,
};

/// The number of a trace, and that of a span in it. Traces with an even number have an error.
pub(in crate::forward) type SpanNumber = (u64, u64);

/// The number of the root span of each trace.
pub(in crate::forward) const ROOT: u64 = 1;
const MS: u64 = 1_000_000;

pub(in crate::forward) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn span((trace, number): SpanNumber, padding: usize) -> Span {
    Span {
        trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
        span_id: number.to_be_bytes().to_vec(),
        parent_span_id: match number {
            ROOT => Vec::new(),
            _ => ROOT.to_be_bytes().to_vec(),
        },
        name: "GET /".to_owned(),
        start_time_unix_nano: MS,
        end_time_unix_nano: 2 * MS,
        attributes: vec![attribute("padding", &"x".repeat(padding))],
        status: trace.is_multiple_of(2).then(|| Status {
            code: 2,
            ..Status::default()
        }),
        ..Span::default()
    }
}

/// A request with these spans, each with this number of additional bytes.
pub(in crate::forward) fn request(spans: &[SpanNumber], padding: usize) -> Vec<u8> {
    request_of("service-a", spans, padding)
}

/// A request with these spans of a service.
pub(in crate::forward) fn request_of(
    service: &str,
    spans: &[SpanNumber],
    padding: usize,
) -> Vec<u8> {
    let spans = spans.iter().map(|number| span(*number, padding));
    let resource = Resource {
        attributes: vec![
            attribute("service.name", service),
            attribute("service.namespace", "demo"),
        ],
        ..Resource::default()
    };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![ScopeSpans {
            spans: spans.collect(),
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
    .encode_to_vec()
}

/// The next span of each of these traces, after those accepted. The root comes second.
pub(in crate::forward) fn next_spans(
    accepted: &BTreeSet<SpanNumber>,
    traces: impl IntoIterator<Item = u64>,
) -> Vec<SpanNumber> {
    let mut spans: Vec<SpanNumber> = Vec::new();
    for trace in traces {
        let earlier = accepted.iter().chain(&spans);
        let number = match earlier.filter(|span| span.0 == trace).count() {
            0 => 2,
            1 => ROOT,
            more => more as u64 + 1,
        };
        spans.push((trace, number));
    }
    spans
}

/// The spans of a batch, in their order.
pub(in crate::forward) fn spans_of(batch: &Batch) -> Vec<SpanNumber> {
    spans_in(&batch.request)
}

/// The spans of a request, in their order.
pub(in crate::forward) fn spans_in(request: &[u8]) -> Vec<SpanNumber> {
    let request = ExportTraceServiceRequest::decode(request).unwrap();
    let mut numbers = Vec::new();
    for resource in request.resource_spans {
        for span in resource.scope_spans.into_iter().flat_map(|it| it.spans) {
            let trace = u128::from_be_bytes(span.trace_id.try_into().unwrap());
            let number = u64::from_be_bytes(span.span_id.try_into().unwrap());
            numbers.push((u64::try_from(trace - 1).unwrap(), number));
        }
    }
    numbers
}

/// Rules that keep traces with an error, if `errors`, and others with this probability.
pub(in crate::forward) fn table(errors: bool, otherwise: &str) -> TailTable {
    let rule = errors.then(|| Rule {
        name: RuleName::new("errors").unwrap(),
        condition: RuleCondition::Error,
    });
    let tail = TailPolicy::new(rule.into_iter().collect(), otherwise.parse().unwrap());
    let target = Target {
        service: ServiceName::new("service-a").unwrap(),
        operations: Vec::new(),
    };
    let now = jiff::Timestamp::now();
    let policy = Policy::new(PolicyFields {
        key: PolicyKey {
            namespace: Namespace::new("demo").unwrap(),
            name: PolicyName::new("tail").unwrap(),
        },
        priority: 0,
        created: now,
        targets: vec![target],
        head: None,
        tail: Some(tail.unwrap()),
        expires_at: None,
    });
    resolve(&[policy.unwrap()], now).tail
}

/// A running process.
pub(in crate::forward) struct Process {
    pub(in crate::forward) journaled: Journaled,
    pub(in crate::forward) recovery: Recovery,
    pub(in crate::forward) settings: ForwarderSettings,
    pub(in crate::forward) folder: TempDir,
}

impl Process {
    /// Starts a process with an empty journal of this size. Traces are due directly after their
    /// root, and without one after an hour.
    pub(in crate::forward) fn start(max_bytes: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let settings = ForwarderSettings {
            tail: TailSettings {
                decision_wait: Duration::ZERO,
                max_trace_duration: Duration::from_secs(3600),
                ..TailSettings::default()
            },
            journal: Some(JournalSettings {
                folder: folder.path().to_owned(),
                max_bytes,
            }),
            ..ForwarderSettings::default()
        };
        Self::open(folder, settings)
    }

    /// Starts a process with the journal in a folder.
    pub(in crate::forward) fn open(folder: TempDir, mut settings: ForwarderSettings) -> Self {
        if let Some(journal) = &mut settings.journal {
            journal.folder = folder.path().to_owned();
        }
        let (journaled, recovery) = Journaled::open(&settings).unwrap();
        Self {
            journaled,
            recovery,
            settings,
            folder,
        }
    }

    /// Starts one of several processes, with an empty journal of this size.
    pub(in crate::forward) fn start_among(own: u16, rings: &Rings, max_bytes: u64) -> Self {
        let mut settings = Self::start(max_bytes).settings;
        settings.peers = Some(PeerSettings {
            own,
            rings: Some(rings.clone()),
        });
        Self::open(TempDir::new().unwrap(), settings)
    }

    /// Kills the process and starts another one with what is on disk, and with the same rings, which
    /// are saved in a file.
    pub(in crate::forward) fn kill(mut self) -> Self {
        let rings = self.rings();
        if let Some(peers) = &mut self.settings.peers {
            peers.rings = rings;
        }
        Self::open(copy(self.folder.path()), self.settings.clone())
    }

    pub(in crate::forward) fn rings(&self) -> Option<Rings> {
        let state = self.state();
        state.rings().map(|(rings, _)| rings.clone())
    }

    pub(in crate::forward) fn set_rings(&mut self, rings: Rings) {
        self.journaled.appender().set_rings(rings);
    }

    /// The number of parts for peers.
    pub(in crate::forward) fn parts(&self) -> usize {
        self.state().parts.count()
    }

    /// Sends the next parts to a peer, which accepts at most this many. Its response may be lost.
    /// Returns the number of parts that it accepted.
    pub(in crate::forward) fn forward(
        &mut self,
        peer: &mut Self,
        max: usize,
        is_lost: bool,
    ) -> usize {
        let now = Instant::now();
        let to = peer.settings.peers.as_ref().unwrap().own;
        peer.set_rings(self.rings().unwrap());
        let journal = self.state().journal_id.unwrap();
        let parts = self.state().next_forward(to, now).parts;
        let mut taken = 0;
        for part in parts.iter().take(max) {
            if peer.accept_part(journal, part).is_err() {
                break;
            }
            taken += 1;
        }
        if !is_lost {
            let (received, saturated) = {
                let peer = peer.state();
                (peer.received(journal), peer.saturated())
            };
            let mut state = self.state();
            state.parts.forwarded(to, received, now);
            let peers = state.peers.as_mut().unwrap();
            peers.set_saturated(to, saturated, now);
            drop(state);
            self.set_rings(peer.rings().unwrap());
        }
        taken
    }

    fn accept_part(&mut self, journal: JournalId, part: &ForwardedPart) -> Result<(), AcceptError> {
        let mut reservation = Reservation::unbounded();
        let limits = SourceLimits::FORWARDER;
        let scanned = scan_within(&part.request, limits, &mut reservation).unwrap();
        let mut appender = self.journaled.appender();
        appender.accept_part((journal, part), Some(&scanned), None)
    }

    /// The state. No other method may be called while it is locked.
    pub(in crate::forward) fn state(&self) -> MutexGuard<'_, State> {
        self.journaled.state()
    }

    pub(in crate::forward) fn set_table(&mut self, table: TailTable) {
        self.state().sampler.set_table(table);
    }

    pub(in crate::forward) fn totals(&self) -> Totals {
        self.state().sampler.totals()
    }

    pub(in crate::forward) fn accept(&mut self, request: &[u8]) -> Result<(), AcceptError> {
        let mut reservation = Reservation::unbounded();
        let scanned = scan_within(request, SourceLimits::FORWARDER, &mut reservation).unwrap();
        self.journaled.appender().accept(request, &scanned, None)
    }

    /// Makes some decisions; returns whether there are more to make.
    pub(in crate::forward) fn decide_some(
        &mut self,
        decide: impl FnOnce(&mut TailSampler, &mut Outgoing) -> bool,
    ) -> bool {
        self.journaled.appender().decide(decide)
    }

    /// Decides on all waiting traces.
    pub(in crate::forward) fn decide(&mut self) {
        while self.decide_some(TailSampler::decide_waiting) {}
    }

    /// Does what happens at each tick after the decisions.
    pub(in crate::forward) fn flush(&mut self) {
        self.state().outgoing.batches.complete();
        journal::delete(&self.journaled.appender().clean_up());
    }

    pub(in crate::forward) fn next_batch(&mut self) -> Option<Batch> {
        self.state().next_batch()
    }

    /// Reports that a batch was sent.
    pub(in crate::forward) fn sent(&mut self, batch: &Batch) {
        if self.state().sent(batch) {
            self.journaled.appender().confirm();
        }
    }

    /// Sends all that is to be sent; returns the spans in their order.
    pub(in crate::forward) fn send(&mut self) -> Vec<SpanNumber> {
        self.flush();
        let mut spans = Vec::new();
        while let Some(batch) = self.next_batch() {
            spans.extend(spans_of(&batch));
            self.sent(&batch);
        }
        self.flush();
        spans
    }
}

/// Sends a request to a forwarder.
pub(in crate::forward) fn accept(
    forwarder: &Forwarder,
    request: &[u8],
) -> Result<Rejected, AcceptError> {
    let mut reservation = forwarder.receiver.memory().reservation();
    forwarder.receiver.accept(request, &mut reservation)
}

/// Copies the files of a folder.
pub(in crate::forward) fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match fs::copy(entry.path(), to.path().join(entry.file_name())) {
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => {
                copied.unwrap();
            }
        }
    }
    to
}

/// The number of files whose names have this prefix.
pub(in crate::forward) fn files(folder: &Path, prefix: &str) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_str().unwrap().starts_with(prefix))
        .count()
}
