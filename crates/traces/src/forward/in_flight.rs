//! The batches that are being sent.

use std::collections::BTreeMap;

use super::{batches::Batch, position::Position};

/// The batches that were handed out, by number.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    batches: BTreeMap<u64, Sending>,
    bytes: usize,
}

#[derive(Debug)]
struct Sending {
    first_span: Position,
    bytes: usize,
    is_sent: bool,
}

impl InFlight {
    /// The bytes that take room.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a batch that is handed out.
    pub(super) fn add(&mut self, batch: &Batch) {
        self.bytes += batch.request.len();
        let sending = Sending {
            first_span: batch.first_span,
            bytes: batch.request.len(),
            is_sent: false,
        };
        self.batches.insert(batch.number, sending);
    }

    /// Frees the room of a batch that was sent.
    pub(super) fn sent(&mut self, batch: &Batch) {
        if let Some(sending) = self.batches.remove(&batch.number) {
            self.bytes -= sending.bytes;
        }
    }

    /// Marks a batch as sent, and frees the room of those before the first one that is not.
    ///
    /// The batches after that one are sent again if the process is killed now. Since they take room
    /// until it is sent, a batch that cannot be sent does not let their number grow without bound.
    pub(super) fn sent_in_order(&mut self, batch: &Batch) {
        if let Some(sending) = self.batches.get_mut(&batch.number) {
            sending.is_sent = true;
        }
        while let Some(first) = self.batches.first_entry()
            && first.get().is_sent
        {
            self.bytes -= first.remove().bytes;
        }
    }

    /// The first span that may not have been sent.
    pub(super) fn first_span(&self) -> Option<Position> {
        let (_, first) = self.batches.first_key_value()?;
        Some(first.first_span)
    }
}
