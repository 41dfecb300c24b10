//! The peers from which spans were received.

use super::{JournalId, record::Fields};

/// The last sequence received of each journal of a peer, the least recent first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Senders(Vec<(JournalId, u64)>);

/// The most journals. A stack has at most 64 samplers; each has another journal only after the loss
/// of its volume. Parts of a forgotten journal may be accepted twice.
const MAX_SENDERS: usize = 256;

impl Senders {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last sequence received of a journal.
    pub(in crate::forward) fn received(&self, journal: JournalId) -> Option<u64> {
        let mut senders = self.0.iter();
        let found = senders.find(|(sender, _)| *sender == journal);
        found.map(|(_, sequence)| *sequence)
    }

    /// Records that a sequence was received. It only grows.
    pub(super) fn record(&mut self, journal: JournalId, sequence: u64) {
        let former = self.received(journal);
        self.0.retain(|(sender, _)| *sender != journal);
        if self.0.len() >= MAX_SENDERS {
            self.0.remove(0);
        }
        let sequence = former.unwrap_or_default().max(sequence);
        self.0.push((journal, sequence));
    }

    /// The body of a record of the kind [`Kind::Received`](super::record::Kind::Received).
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.0.len() * 24);
        for (journal, sequence) in &self.0 {
            body.extend_from_slice(&journal.to_bytes());
            body.extend_from_slice(&sequence.to_le_bytes());
        }
        body
    }

    /// Adds the senders of such a record; `None` if it is not understood.
    pub(super) fn decode(&mut self, body: &[u8]) -> Option<()> {
        let mut fields = Fields(body);
        while !fields.is_empty() {
            let journal = JournalId::from_bytes(fields.array()?);
            self.record(journal, fields.u64()?);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(number: usize) -> JournalId {
        JournalId::from_bytes((number as u128).to_be_bytes())
    }

    #[test]
    fn sequences_only_grow_and_are_read_as_written() {
        let mut senders = Senders::default();
        for (number, sequence) in [(1, 5), (2, 9), (1, 7), (2, 3)] {
            senders.record(journal(number), sequence);
        }
        let mut read = Senders::default();
        assert_eq!(read.decode(&senders.encode()), Some(()));
        assert_eq!(read, senders);
        let received = [1, 2, 3].map(|number| read.received(journal(number)));
        assert_eq!(received, [Some(7), Some(9), None]);
        assert_eq!(read.decode(&[1]), None);
    }

    #[test]
    fn least_recent_sender_is_forgotten() {
        let mut senders = Senders::default();
        for number in 0..MAX_SENDERS {
            senders.record(journal(number), 1);
        }
        senders.record(journal(0), 2);
        senders.record(journal(MAX_SENDERS), 1);
        let received = [0, 1, 2].map(|number| senders.received(journal(number)));
        assert_eq!(received, [Some(2), None, Some(1)]);
    }
}
