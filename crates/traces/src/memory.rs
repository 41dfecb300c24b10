//! The bound on requests that are being received, over all connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use spoor_runtime::end_slow_bodies;

/// The bytes of requests that are being received: their bodies, compressed and decompressed, and
/// the index of their spans. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// There is no memory for a request, or for its spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfMemory {
    /// Other requests are using it.
    #[error("too many bytes are being received at the same time; try again later")]
    Overloaded,
    /// The request needs more than the bound, even without other requests.
    #[error("the spans need more memory than one request may use; send smaller batches")]
    RequestTooLarge,
    /// The traces that wait for their tail decision take all the memory that they may use.
    #[error("too many traces are waiting for their tail decision; try again later")]
    TooManyWaiting,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    /// A reservation of no bytes yet, for a request.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// The memory of one request, released when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Memory,
    bytes: usize,
}

impl Reservation {
    /// A reservation without a bound, for requests that no sender controls.
    pub(crate) fn unbounded() -> Self {
        Memory::new(usize::MAX).reservation()
    }

    /// The bytes taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let own = self.bytes.saturating_add(bytes);
        // Distinguished from overload, because such a request must not be sent again.
        if own > self.memory.max {
            return Err(OutOfMemory::RequestTooLarge);
        }
        // Added first and compared afterwards, so that two requests cannot both take the last free
        // bytes; `drop` returns them in either case. The sum orders no other memory, hence relaxed.
        let before = self.memory.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes = own;
        if before.saturating_add(bytes) > self.memory.max {
            // Makes room for the next attempt if other bodies arrive slowly.
            end_slow_bodies();
            return Err(OutOfMemory::Overloaded);
        }
        Ok(())
    }

    /// Returns all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let returned = self.bytes.saturating_sub(bytes);
        self.memory.taken.fetch_sub(returned, Ordering::Relaxed);
        self.bytes -= returned;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// A list that takes its memory from a [`Reservation`] before it grows.
#[derive(Debug, derive_more::Deref)]
pub(crate) struct CountedVec<T> {
    #[deref]
    items: Vec<T>,
    bytes_per_item: usize,
}

impl<T> CountedVec<T> {
    /// An empty list. Each item takes `extra_bytes` elsewhere for as long as the list is used.
    pub(crate) fn new(extra_bytes: usize) -> Self {
        Self {
            items: Vec::new(),
            bytes_per_item: size_of::<T>() + extra_bytes,
        }
    }

    /// Makes room for at least `additional` items.
    pub(crate) fn reserve(
        &mut self,
        additional: usize,
        reservation: &mut Reservation,
    ) -> Result<(), OutOfMemory> {
        reservation.grow(additional.saturating_mul(self.bytes_per_item))?;
        // Exact, since no more memory was taken.
        self.items.reserve_exact(additional);
        Ok(())
    }

    #[inline]
    pub(crate) fn push(
        &mut self,
        item: T,
        reservation: &mut Reservation,
    ) -> Result<(), OutOfMemory> {
        if self.items.len() == self.items.capacity() {
            self.grow(reservation)?;
        }
        self.items.push(item);
        Ok(())
    }

    /// Grows by half: a list twice as long could exceed a bound that the items fit in.
    #[cold]
    fn grow(&mut self, reservation: &mut Reservation) -> Result<(), OutOfMemory> {
        self.reserve((self.items.len() / 2).max(MIN_GROWTH_ITEMS), reservation)
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
    }
}

/// The fewest items by which a list grows.
const MIN_GROWTH_ITEMS: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{CountedVec, Memory, OutOfMemory};

    #[test]
    fn dropped_reservation_is_returned() {
        let memory = Memory::new(100);
        let mut first = memory.reservation();
        first.grow(60).unwrap();
        let mut second = memory.reservation();
        assert_eq!(second.grow(60), Err(OutOfMemory::Overloaded));
        drop((first, second));
        assert_eq!(memory.reservation().grow(100), Ok(()));
    }

    #[test]
    fn rejects_more_than_the_bound() {
        let mut reservation = Memory::new(100).reservation();
        reservation.grow(60).unwrap();
        assert_eq!(reservation.grow(60), Err(OutOfMemory::RequestTooLarge));
        assert_eq!(reservation.grow(40), Ok(()));
    }

    #[test]
    fn a_list_stays_within_its_reservation() {
        let mut reservation = Memory::new(10_000).reservation();
        let mut list = CountedVec::new(2);
        let full = loop {
            if let Err(full) = list.push(0_u64, &mut reservation) {
                break full;
            }
        };
        assert_eq!(full, OutOfMemory::RequestTooLarge);
        assert!(list.len() >= 10_000 / 10 / 2, "{}", list.len());
        assert!(list.items.capacity() * 10 <= 10_000);
    }
}
