//! Bounds what is being received, over all connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes of requests that are being received and not yet taken. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// There is no memory for another request now; later there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are being received at the same time: try again later")]
pub(crate) struct Overloaded;

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            taken: Arc::default(),
            max,
        }
    }

    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            bytes: 0,
        }
    }
}

/// One request's part; given back when it goes.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    bytes: usize,
}

impl Share {
    /// Whether so many bytes more would be had if nobody else took any.
    pub(crate) fn may_ever_grow(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.memory.max
    }

    /// Makes the share larger.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let before = self.memory.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.memory.max {
            Err(Overloaded)
        } else {
            Ok(())
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
