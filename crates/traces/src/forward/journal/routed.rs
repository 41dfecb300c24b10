//! Records about the spans that go to other samplers.

use super::{
    JournalId,
    record::{Fields, write_bytes},
};
use crate::forward::ring::Visited;

/// A request that was divided, or that a peer has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Routed<'a> {
    /// The peer's journal and the sequence there; `None` for a request of a Collector.
    pub(in crate::forward) from: Option<(JournalId, u64)>,
    /// The time between the acceptance by a sampler and this record, in milliseconds.
    pub(in crate::forward) age: u64,
    /// The spans that stay, as a request.
    pub(in crate::forward) here: Option<&'a [u8]>,
    /// The spans for each other sampler.
    pub(in crate::forward) parts: Vec<RoutedPart<'a>>,
}

/// Spans for another sampler. Their sequence is the number of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct RoutedPart<'a> {
    pub(in crate::forward) to: u16,
    pub(in crate::forward) visited: Visited,
    pub(in crate::forward) request: &'a [u8],
}

/// A part of a segment that is about to be deleted, written again to the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Moved<'a> {
    pub(in crate::forward) sequence: u64,
    /// The time at which a sampler accepted the spans, in milliseconds since 1970.
    pub(in crate::forward) accepted: u64,
    pub(in crate::forward) part: RoutedPart<'a>,
}

/// In place of an ordinal: the spans stay.
const HERE: u16 = u16::MAX;
/// In place of the ID of a journal: a Collector.
const COLLECTOR: JournalId = JournalId::ZERO;

impl<'a> Routed<'a> {
    pub(super) fn encode(&self, body: &mut Vec<u8>) {
        let (from, sequence) = self.from.unwrap_or((COLLECTOR, 0));
        body.extend_from_slice(&from.to_bytes());
        body.extend_from_slice(&sequence.to_le_bytes());
        body.extend_from_slice(&self.age.to_le_bytes());
        let here = self.here.map(|request| RoutedPart {
            to: HERE,
            visited: Visited::default(),
            request,
        });
        let parts = self.parts.iter().copied().chain(here);
        // There is at most one for each member of a ring.
        let count = self.parts.len() + usize::from(here.is_some());
        body.push(u8::try_from(count).unwrap_or(u8::MAX));
        for part in parts {
            write_destination(body, &part);
            write_bytes(body, part.request);
        }
    }

    pub(super) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let from = JournalId::from_bytes(fields.array()?);
        let sequence = fields.u64()?;
        let mut routed = Self {
            from: (from != COLLECTOR).then_some((from, sequence)),
            age: fields.u64()?,
            ..Self::default()
        };
        let [count] = fields.array()?;
        for _ in 0..count {
            let (to, visited) = read_destination(&mut fields)?;
            let request = fields.bytes()?;
            match to {
                HERE => routed.here = Some(request),
                to => routed.parts.push(RoutedPart {
                    to,
                    visited,
                    request,
                }),
            }
        }
        fields.is_empty().then_some(routed)
    }
}

impl<'a> Moved<'a> {
    pub(super) fn encode(&self, body: &mut Vec<u8>) {
        body.extend_from_slice(&self.sequence.to_le_bytes());
        body.extend_from_slice(&self.accepted.to_le_bytes());
        write_destination(body, &self.part);
        body.extend_from_slice(self.part.request);
    }

    pub(super) fn decode(body: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let (sequence, accepted) = (fields.u64()?, fields.u64()?);
        let (to, visited) = read_destination(&mut fields)?;
        let request = fields.0;
        Some(Self {
            sequence,
            accepted,
            part: RoutedPart {
                to,
                visited,
                request,
            },
        })
    }
}

fn write_destination(body: &mut Vec<u8>, part: &RoutedPart<'_>) {
    body.extend_from_slice(&part.to.to_le_bytes());
    body.extend_from_slice(&part.visited.generation.to_le_bytes());
    body.extend_from_slice(&part.visited.members.to_le_bytes());
}

fn read_destination(fields: &mut Fields<'_>) -> Option<(u16, Visited)> {
    let to = fields.u16()?;
    let (generation, members) = (fields.u64()?, fields.u64()?);
    let visited = Visited {
        generation,
        members,
    };
    Some((to, visited))
}

/// The body of a record of the kind [`Kind::Forwarded`](super::record::Kind::Forwarded).
pub(super) fn forwarded_body(peer: u16, sequence: u64) -> Vec<u8> {
    [&peer.to_le_bytes()[..], &sequence.to_le_bytes()[..]].concat()
}

/// Reads such a body.
pub(super) fn forwarded(body: &[u8]) -> Option<(u16, u64)> {
    let mut fields = Fields(body);
    let forwarded = (fields.u16()?, fields.u64()?);
    fields.is_empty().then_some(forwarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: RoutedPart<'_> = RoutedPart {
        to: 3,
        visited: Visited {
            generation: 9,
            members: 0b101,
        },
        request: b"spans",
    };

    #[test]
    fn routed_requests_are_read_as_written() {
        let journal = JournalId::from_bytes([7; 16]);
        for from in [None, Some((journal, 42))] {
            for here in [None, Some(&b"here"[..])] {
                for parts in [Vec::new(), vec![PART; 2]] {
                    let routed = Routed {
                        from,
                        age: 1_500,
                        here,
                        parts,
                    };
                    let mut body = Vec::new();
                    routed.encode(&mut body);
                    assert_eq!(Routed::decode(&body), Some(routed));
                    body.push(0);
                    assert_eq!(Routed::decode(&body), None);
                }
            }
        }
    }

    #[test]
    fn moved_parts_are_read_as_written() {
        let moved = Moved {
            sequence: 42,
            accepted: 1_700_000_000_000,
            part: PART,
        };
        let mut body = Vec::new();
        moved.encode(&mut body);
        assert_eq!(Moved::decode(&body), Some(moved));
        assert_eq!(Moved::decode(&body[..20]), None);
    }

    #[test]
    fn forwarded_sequences_are_read_as_written() {
        let body = forwarded_body(3, 42);
        assert_eq!(forwarded(&body), Some((3, 42)));
        assert_eq!(forwarded(&body[1..]), None);
    }
}
