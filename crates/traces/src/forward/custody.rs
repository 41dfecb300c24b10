//! The journal's files, which may be kept elsewhere while the forwarder does not run.

use tokio_util::sync::CancellationToken;

use super::{Forwarder, ForwarderSettings, JournalError, Recovery, journaled::Journaled};

impl Forwarder {
    /// Like [`Forwarder::start`], but without reading the journal, whose files may be elsewhere.
    /// Until [`Forwarder::open_journal`], the forwarder refuses requests and rings.
    pub fn start_without_journal(settings: ForwarderSettings, shutdown: CancellationToken) -> Self {
        let journaled = Journaled::without_journal(&settings);
        Self::start_with(settings, (journaled, Recovery::default()), shutdown)
    }

    /// Opens the journal of these settings, those of the start. Blocks until it is read.
    ///
    /// # Errors
    /// As for [`Forwarder::start`]. The forwarder stays without a journal then.
    pub fn open_journal(&self, settings: &ForwarderSettings) -> Result<(), JournalError> {
        let recovery = self.shared.journaled.open_journal(settings)?;
        *self.shared.recovery.lock() = recovery;
        Ok(())
    }

    /// Writes all pending records to the journal, and closes it, so that its files can be copied:
    /// from then on no request is accepted, no decision is made and no batch is handed out. Returns
    /// the number of the last record; `None` if no journal is open, or if it cannot be written,
    /// which leaves it open. May block while others write to the journal.
    #[must_use]
    pub fn close_journal(&self) -> Option<u64> {
        self.shared.journaled.appender().close()
    }

    /// Continues after [`Forwarder::close_journal`].
    pub fn reopen_journal(&self) {
        self.shared.state().is_journal_closed = false;
        self.shared.has_batch.notify_waiters();
    }

    /// The number of the last record of the journal; zero without one.
    #[must_use]
    pub fn last_record(&self) -> u64 {
        self.shared.state().last_record()
    }

    /// Returns whether other files of this size have room on the journal's volume: together with
    /// the journal they may take three fifths of the journal's limit. May block while others write
    /// to the journal.
    #[must_use]
    pub fn has_room_beside_journal(&self, bytes: u64) -> bool {
        self.shared.journaled.appender().has_room_beside(bytes)
    }

    /// Lowers the limit of the journal by the size of other files on its volume. May block while
    /// others write to the journal.
    pub fn set_reserved(&self, bytes: u64) {
        self.shared.journaled.appender().set_reserved(bytes);
    }
}
