//! Room that many holders share, reserved as each of them needs it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The part of a room that one holder has reserved. Dropping it releases the part.
#[derive(Debug, Default)]
pub(crate) struct Reservation(Option<OwnedSemaphorePermit>);

impl Reservation {
    /// Reserves more of the room, up to this size in total.
    ///
    /// # Errors
    /// If less room is left. The reservation then stays as it is.
    pub(crate) fn grow_to(
        &mut self,
        size: usize,
        room: &Arc<Semaphore>,
    ) -> Result<(), TryAcquireError> {
        let held = self.0.as_ref();
        let held = held.map_or(0, OwnedSemaphorePermit::num_permits);
        // A size beyond `u32` exceeds every room, so the reservation fails.
        let more = u32::try_from(size.saturating_sub(held)).unwrap_or(u32::MAX);
        let reserved = Arc::clone(room).try_acquire_many_owned(more)?;
        match &mut self.0 {
            Some(held) => held.merge(reserved),
            None => self.0 = Some(reserved),
        }
        Ok(())
    }

    /// Releases what exceeds this size.
    pub(crate) fn shrink_to(&mut self, size: usize) {
        if let Some(held) = &mut self.0 {
            let surplus = held.num_permits().saturating_sub(size);
            drop(held.split(surplus));
        }
    }
}
