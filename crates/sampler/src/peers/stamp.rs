//! Stamps: times of this process, which peers return to it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

/// One run of the sampler, and its time.
#[derive(Debug)]
pub(super) struct Process {
    id: Uuid,
    start: Instant,
}

impl Process {
    pub(super) fn start() -> Self {
        Self {
            id: Uuid::new_v4(),
            start: Instant::now(),
        }
    }

    /// The ID of this run.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// The present time, in a form that only this process reads.
    pub(super) fn stamp(&self) -> Bytes {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Bytes::from([self.id.as_bytes().as_slice(), &nanos.to_be_bytes()].concat())
    }

    /// The time of a stamp, unless another process made it, such as this sampler before a restart.
    pub(super) fn read(&self, stamp: &[u8]) -> Option<Instant> {
        let (id, nanos) = stamp.split_first_chunk::<16>()?;
        if id != self.id.as_bytes() {
            return None;
        }
        let nanos = u64::from_be_bytes(nanos.try_into().ok()?);
        let time = self.start.checked_add(Duration::from_nanos(nanos))?;
        (time <= Instant::now()).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn own_stamp_is_read_back() {
        let process = Process::start();
        let before = Instant::now();
        let stamp = process.stamp();
        let time = process.read(&stamp).unwrap();
        assert!(before <= time && time <= Instant::now());
    }

    #[test]
    fn other_stamps_are_not_read() {
        let process = Process::start();
        assert_eq!(process.read(&Process::start().stamp()), None);
        assert_eq!(process.read(b""), None);
        assert_eq!(process.read(&process.stamp()[..23]), None);
        let future = [process.id.as_bytes().as_slice(), &[0xff; 8]].concat();
        assert_eq!(process.read(&future), None);
    }
}
