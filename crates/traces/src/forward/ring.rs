//! The division of traces among several samplers.
//!
//! A [`Ring`] consists of the samplers with ordinals below a number. Each trace has one owner in it, by
//! rendezvous hashing. While the number changes, the former rings stay active, since their owners
//! still know traces. A sampler knows a trace that waits there, was decided there or was passed
//! straight on there. Its spans may arrive at any sampler, which hands them on:
//!
//! 1. A sampler that knows the trace keeps the span.
//! 2. Otherwise the span goes to the first owner, from the oldest ring to the current one, that it
//!    has not visited.
//! 3. If there is none, it goes to the current owner, which begins the trace.
//!
//! Samplers learn of rings at different times. Nevertheless, no two of them begin the same trace:
//!
//! - A sampler that receives a span first adopts the sender's rings if they are newer, and never
//!   returns to older ones.
//! - Visits count only within one generation of the rings. So a sampler begins a trace only after
//!   all other owners have received the span with the same rings, and did not know the trace. Each of
//!   them could later begin it only with newer rings, in which the sampler that has begun it is a
//!   former owner: it would be asked first.
//!
//! Without the second condition, a sampler that began the trace after the visit, with rings of a
//! generation in between, would still count as visited.
//!
//! The second condition also needs each former ring to stay active until its owners have forgotten
//! the traces that they began.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::TraceId;

/// The samplers with the ordinals below a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ring {
    members: u16,
}

/// The rings by which traces are divided among samplers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rings {
    generation: u64,
    /// Those before the current one whose owners may know traces, the oldest first.
    former: Vec<Ring>,
    current: Ring,
}

/// Rings that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRings {
    /// There are none, or too many.
    #[error("there must be 1 to 64 rings, not {0}")]
    Count(usize),
    /// A ring has no members, or too many.
    #[error("a ring must have 1 to 64 members, not {0}")]
    Members(u32),
}

/// The samplers that a span has visited, and that did not know its trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Visited {
    /// The generation of the rings by which they handed the span on. With rings of another
    /// generation, the visits do not count.
    pub generation: u64,
    /// The ordinals, as bits.
    pub members: u64,
}

/// The next step of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The ordinal of the sampler to send it to.
    pub to: u16,
    /// The samplers visited, including the one that sends it.
    pub visited: Visited,
}

impl Ring {
    fn new(members: u32) -> Result<Self, InvalidRings> {
        match u16::try_from(members) {
            Ok(members) if (1..=Rings::MAX_MEMBERS).contains(&members) => Ok(Self { members }),
            _ => Err(InvalidRings::Members(members)),
        }
    }

    /// The member with the greatest hash. An additional member takes traces from all others and
    /// moves none between them.
    ///
    /// All samplers of a stack have to agree, including those of different versions. So the hash
    /// has no secret seed, and must not change.
    fn owner(self, trace: TraceId) -> u16 {
        let id = trace.to_bytes();
        (0..self.members)
            .max_by_key(|member| xxh3_64_with_seed(&id, u64::from(*member)))
            .unwrap_or_default()
    }
}

impl Rings {
    /// The most members of a ring: [`Visited`] has a bit for each.
    pub const MAX_MEMBERS: u16 = 64;
    /// The most rings. No two need to have the same number of members.
    const MAX_RINGS: usize = 64;

    /// Rings with these numbers of members, the oldest first and the current one last.
    ///
    /// # Errors
    /// [`InvalidRings`].
    pub fn new(generation: u64, members: &[u32]) -> Result<Self, InvalidRings> {
        if members.len() > Self::MAX_RINGS {
            return Err(InvalidRings::Count(members.len()));
        }
        let rings = members.iter().map(|members| Ring::new(*members));
        let mut rings = rings.collect::<Result<Vec<_>, _>>()?;
        let current = rings.pop().ok_or(InvalidRings::Count(0))?;
        Ok(Self {
            generation,
            former: rings,
            current,
        })
    }

    /// The number of this list of rings. Later lists have greater ones.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The numbers of members, the oldest ring first and the current one last.
    pub fn members(&self) -> impl Iterator<Item = u32> {
        self.rings().map(|ring| u32::from(ring.members))
    }

    /// Returns whether a sampler is a member of any of the rings. Otherwise it owns no traces, and
    /// should receive spans only from its peers.
    #[must_use]
    pub fn has_member(&self, ordinal: u16) -> bool {
        self.rings().any(|ring| ordinal < ring.members)
    }

    /// The number of members of the largest ring. All samplers below it may own traces.
    #[must_use]
    pub fn max_members(&self) -> u16 {
        let members = self.rings().map(|ring| ring.members);
        members.max().unwrap_or_default()
    }

    /// Returns whether former rings are active.
    pub(super) fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// Returns whether a trace has an owner among these ordinals, which are given as bits.
    pub(super) fn has_owner_among(&self, trace: TraceId, ordinals: u64) -> bool {
        self.rings()
            .any(|ring| ordinals & bit(ring.owner(trace)) != 0)
    }

    /// Replaces these rings with newer ones; returns whether they are newer.
    pub fn adopt(&mut self, other: Self) -> bool {
        let is_newer = other.generation > self.generation;
        if is_newer {
            *self = other;
        }
        is_newer
    }

    /// The next step of a span at the sampler `own`, which must have adopted the sender's rings;
    /// `None` if it stays there.
    ///
    /// With one ring only its owner knows a trace, and `is_known` is not called: spans can be
    /// divided without the sampler's lock.
    pub fn next_hop(
        &self,
        trace: TraceId,
        visited: Visited,
        own: u16,
        is_known: impl FnOnce() -> bool,
    ) -> Option<Hop> {
        let visited = visited.in_generation(self.generation);
        let current = self.current.owner(trace);
        let to = if self.former.is_empty() {
            current
        } else if is_known() {
            own
        } else {
            let mut chain = self.chain(trace).into_iter();
            let unvisited = chain.find(|owner| *owner != own && !visited.contains(*owner));
            unvisited.unwrap_or(current)
        };
        (to != own).then(|| Hop {
            to,
            visited: visited.with(own),
        })
    }

    /// The owners of a trace, from the oldest ring to the current one. One that owns it in several
    /// rings has the place of the last, so that the current owner comes last.
    fn chain(&self, trace: TraceId) -> Vec<u16> {
        let mut chain = Vec::new();
        for owner in self.rings().map(|ring| ring.owner(trace)) {
            chain.retain(|former| *former != owner);
            chain.push(owner);
        }
        chain
    }

    fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.former.iter().chain([&self.current])
    }
}

impl Visited {
    fn in_generation(self, generation: u64) -> Self {
        match self.generation == generation {
            true => self,
            false => Self {
                generation,
                members: 0,
            },
        }
    }

    fn contains(self, ordinal: u16) -> bool {
        self.members & bit(ordinal) != 0
    }

    fn with(self, ordinal: u16) -> Self {
        Self {
            members: self.members | bit(ordinal),
            ..self
        }
    }
}

/// The bit of an ordinal; zero for one that no ring has.
pub(super) fn bit(ordinal: u16) -> u64 {
    1_u64.checked_shl(u32::from(ordinal)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
