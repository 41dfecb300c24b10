//! The rules of one phase of a plan, in a form for fast lookup.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hashbrown::HashMap;
use opentelemetry::trace::TraceState;
use spoor_policy::{Probability, Threshold};

use super::{
    bucket::{self, TokenBucket},
    counts::Counters,
    trace_state,
};

/// The rules of a phase. They do not change, except for the rates and levels of their buckets.
#[derive(Debug)]
pub(super) struct View {
    pub(super) generation: u64,
    default: Option<Rule>,
    operations: HashMap<Box<str>, Entry>,
    pub(super) counters: Arc<Counters>,
}

/// One operation's rule, and where its decisions are counted.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: usize,
    pub(super) rule: Rule,
}

/// The rule for a root span.
#[derive(Debug)]
pub(super) enum Rule {
    Probability {
        threshold: Threshold,
        /// The `tracestate` of a kept root that has none of its own.
        written: TraceState,
    },
    RateLimit(TokenBucket),
}

impl View {
    pub(super) const DEFAULT_ENTRY: usize = 0;

    pub(super) fn new(
        default: Option<Rule>,
        operations: HashMap<Box<str>, Entry>,
        counters: Arc<Counters>,
    ) -> Self {
        // Unique in the process, so that a thread's copy is not confused with another sampler's.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let generation = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            generation,
            default,
            operations,
            counters,
        }
    }

    /// The rule for a root span of this name and the entry that it counts under. `None` if the
    /// fallback decides.
    #[inline]
    pub(super) fn rule(&self, name: &str) -> Option<(usize, &Rule)> {
        // Most plans name no operations, and then the name need not be hashed.
        if !self.operations.is_empty()
            && let Some(entry) = self.operations.get(name)
        {
            return Some((entry.index, &entry.rule));
        }
        self.default
            .as_ref()
            .map(|rule| (Self::DEFAULT_ENTRY, rule))
    }

    /// The buckets of rate limits, by operation. The empty name stands for all other operations.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (&str, &TokenBucket)> {
        let operations = self.operations.iter();
        let operations = operations.map(|(name, entry)| (&**name, &entry.rule));
        let default = self.default.iter().map(|rule| ("", rule));
        default
            .chain(operations)
            .filter_map(|(name, rule)| match rule {
                Rule::RateLimit(bucket) => Some((name, bucket)),
                Rule::Probability { .. } => None,
            })
    }
}

impl Rule {
    pub(super) fn probability(probability: Probability) -> Self {
        let threshold = probability.threshold();
        Self::Probability {
            threshold,
            written: trace_state::with_threshold(&TraceState::NONE, threshold),
        }
    }

    /// True to keep the trace.
    #[inline]
    pub(super) fn decide(&self, randomness: impl FnOnce() -> u64) -> bool {
        match self {
            Self::Probability { threshold, .. } => threshold.keeps(randomness()),
            Self::RateLimit(bucket) => bucket.take(bucket::now()),
        }
    }

    /// The `tracestate` of a root span that this rule kept. Only a probability has a
    /// threshold.
    pub(super) fn trace_state(&self, incoming: &TraceState) -> TraceState {
        match self {
            Self::Probability { written, .. } if *incoming == TraceState::NONE => written.clone(),
            Self::Probability { threshold, .. } => {
                trace_state::with_threshold(incoming, *threshold)
            }
            Self::RateLimit(_) => trace_state::without_threshold(incoming),
        }
    }
}
