//! The rings by which a stack's samplers divide the traces, and the number of samplers that run.
//!
//! Each step depends only on the rings in the stack's status and on what the samplers report, so
//! another leader can continue. `traces/src/forward/ring.rs` describes why no trace is split.
//!
//! - A larger ring is added once all of its samplers run, and have the present rings and tail
//!   rules, without which they would keep every trace. A smaller one is added at once.
//! - The former rings end once no sampler knows a trace from before the current one.
//! - Samplers above all rings end once they hold nothing, and no other sampler holds anything for
//!   them.
//!
//! If the samplers have newer rings than the status, it was restored from a backup. Then, as without
//! a status, a list begins with all rings that there may have been.
//!
//! A sampler that does not report delays these steps, whether or not its pod is Ready: it may know
//! traces.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use jiff::Timestamp;
use spoor_api::tracing_stack::SamplerRings;

/// The state of a sampler, as far as its stack's rings depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SamplerReading {
    /// The generation of its rings; 0 until it knows the active ones.
    pub rings_generation: u64,
    /// The digest of its tail rules, which may be empty. None before it has received any.
    pub rules: Option<String>,
    /// The latest generation such that it knows no trace from before those rings.
    pub settled_generation: u64,
    /// The bytes of spans that it holds for other samplers, by their ordinals.
    pub forward_pending: BTreeMap<u16, u64>,
    /// The traces that wait and the bytes to send, added up; 0 once it holds nothing.
    pub undelivered: u64,
}

/// The facts that the next step depends on.
#[derive(Clone, Copy, Debug)]
pub struct ScalingState<'a> {
    /// The number of samplers in the spec.
    pub wanted: u16,
    /// The rings in the status. None for a new stack, or if the status was lost. Older than those of
    /// the samplers if it was restored.
    pub rings: Option<&'a SamplerRings>,
    /// The number of samplers that run.
    pub replicas: u16,
    /// The states of the samplers, by ordinal. None for those that do not report.
    pub readings: &'a [Option<SamplerReading>],
    /// The ordinals of samplers that are not waited for. Those that the current ring or the spec
    /// includes are ignored.
    pub forgotten: &'a BTreeSet<u16>,
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalingPlan {
    /// The rings for the status.
    pub rings: SamplerRings,
    /// The number of samplers that should run.
    pub replicas: u16,
    /// True if nothing is left to do.
    pub is_complete: bool,
}

/// Plans the next step.
///
/// Samplers end only in a step that changes no rings: the rings without them have to be in the
/// status first.
#[must_use]
pub fn plan(state: &ScalingState<'_>, now: Timestamp) -> ScalingPlan {
    let readings = state.readings.iter().flatten();
    let newest = readings.map(|it| it.rings_generation).max();
    let newest = newest.unwrap_or_default();
    let is_present = |scaling: &Scaling<'_>| scaling.rings.generation >= newest;
    let Some(scaling) = Scaling::of(state).filter(is_present) else {
        // If samplers run, the status was lost, or restored from a backup. They may have had any
        // rings since, and would ignore older ones than they have.
        let running = state.replicas.max(1);
        return ScalingPlan {
            rings: successor(newest, (1..=running).map(u32::from).collect(), now),
            replicas: running.max(state.wanted),
            is_complete: false,
        };
    };
    let rings = scaling.rings;
    if let Some(members) = scaling.next_members() {
        return ScalingPlan {
            rings: successor(rings.generation, members, now),
            replicas: scaling.running.max(state.wanted),
            is_complete: false,
        };
    }
    let replicas = scaling.next_replicas();
    ScalingPlan {
        rings: rings.clone(),
        replicas,
        is_complete: replicas == state.wanted && rings.members == [u32::from(state.wanted)],
    }
}

/// A stack whose samplers have rings.
struct Scaling<'a> {
    state: &'a ScalingState<'a>,
    rings: &'a SamplerRings,
    /// The number of members of the current ring.
    current: u16,
    /// The number of members of the largest ring.
    largest: u16,
    /// The number of samplers that may know traces.
    running: u16,
    forgotten: BTreeSet<u16>,
}

impl<'a> Scaling<'a> {
    fn of(state: &'a ScalingState<'a>) -> Option<Self> {
        let rings = state.rings?;
        let is_valid = |members: &u32| (1..=SamplerRings::MAX_MEMBERS).contains(members);
        if !rings.members.iter().all(is_valid) {
            return None;
        }
        let current = u16::try_from(*rings.members.last()?).ok()?;
        let largest = u16::try_from(*rings.members.iter().max()?).ok()?;
        let forgotten = state.forgotten.range(current.max(state.wanted)..);
        Some(Self {
            state,
            rings,
            current,
            largest,
            running: state.replicas.max(largest),
            forgotten: forgotten.copied().collect(),
        })
    }

    /// The members of the next list of rings, if it is time for one.
    fn next_members(&self) -> Option<Vec<u32>> {
        let (rings, wanted) = (self.rings, self.state.wanted);
        let is_settled = |it: &SamplerReading| it.settled_generation >= rings.generation;
        if rings.members.len() > 1 && self.all(0..self.running, is_settled) {
            return Some(vec![u32::from(self.current)]);
        }
        // The lowest ordinal is in the most rings.
        if let Some(forgotten) = self.forgotten.first() {
            let is_kept = |members: &&u32| **members <= u32::from(*forgotten);
            let kept: Vec<u32> = rings.members.iter().filter(is_kept).copied().collect();
            if kept != rings.members {
                return Some(kept);
            }
        }
        // Whether they are Ready does not matter: a sampler above all rings is not, since it should
        // receive no spans from Collectors.
        let is_prepared =
            |it: &SamplerReading| it.rings_generation == rings.generation && it.rules.is_some();
        let is_possible = wanted < self.current || self.all(0..wanted, is_prepared);
        if wanted == self.current || !is_possible {
            return None;
        }
        // A former ring of the same size is the same ring, which must not be in the list twice.
        let others = rings.members.iter().copied();
        let others = others.filter(|members| *members != u32::from(wanted));
        Some(others.chain([u32::from(wanted)]).collect())
    }

    /// The number of samplers that should run with these rings.
    fn next_replicas(&self) -> u16 {
        let needed = self.largest.max(self.state.wanted);
        if self.running <= needed {
            return needed;
        }
        let is_waited_for =
            |(peer, bytes): (&u16, &u64)| *peer >= needed && *bytes > 0 && !self.forgets(*peer);
        let is_done = |it: &SamplerReading| {
            it.rings_generation == self.rings.generation
                && !it.forward_pending.iter().any(is_waited_for)
        };
        let is_empty = |it: &SamplerReading| it.undelivered == 0;
        let can_end =
            self.all(0..self.running, is_done) && self.all(needed..self.running, is_empty);
        match can_end {
            true => needed,
            false => self.running,
        }
    }

    /// Returns true if each of these samplers reports what is expected, or is not waited for.
    fn all(&self, mut ordinals: Range<u16>, expected: impl Fn(&SamplerReading) -> bool) -> bool {
        ordinals.all(|ordinal| {
            let reading = self.state.readings.get(usize::from(ordinal));
            let reading = reading.and_then(Option::as_ref);
            self.forgets(ordinal) || reading.is_some_and(&expected)
        })
    }

    fn forgets(&self, ordinal: u16) -> bool {
        self.forgotten.contains(&ordinal)
    }
}

/// Rings that replace those of a generation. Theirs is also greater than that of rings that the
/// status had before it was lost.
fn successor(former: u64, members: Vec<u32>, now: Timestamp) -> SamplerRings {
    let now = u64::try_from(now.as_millisecond()).unwrap_or_default();
    SamplerRings {
        generation: former.saturating_add(1).max(now),
        members,
    }
}

#[cfg(test)]
mod tests;
