//! Places in the sequence of spans that a journal's records cause to be forwarded.

/// A place between two spans: after all spans that the records before this one caused, and after
/// the first `spans` spans that this one caused.
///
/// Replay is deterministic, so a position means the same span in every process that reads the
/// journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) record: u64,
    pub(super) spans: u64,
}

impl Position {
    /// The place before the first span that a record causes.
    pub(super) fn before(record: u64) -> Self {
        Self { record, spans: 0 }
    }
}
