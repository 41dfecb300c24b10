//! A limit on streams of unlimited duration, fair to their clients.

use std::{collections::HashMap, hash::Hash};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The slots of the open streams, each of which belongs to a client `C`: an address or a connection.
///
/// If a full limit refused all new streams, a few clients could lock out all others.
#[derive(Debug)]
pub struct StreamSlots<C> {
    max: usize,
    min_excess: usize,
    /// The client of each stream and the token that ends it, the oldest first.
    open: Mutex<Vec<(C, CancellationToken)>>,
}

impl<C: Copy + Eq + Hash> StreamSlots<C> {
    /// Creates slots for `max` streams. When all are taken, a new stream replaces one of the client
    /// that has the most, if that client has at least `min_excess` more streams than the new one's.
    /// With a `min_excess` of 0, a new stream always replaces one, if need be of the same client.
    #[must_use]
    pub fn new(max: usize, min_excess: usize) -> Self {
        Self {
            max,
            min_excess,
            open: Mutex::default(),
        }
    }

    /// Takes a slot for a stream until its token is cancelled. If none is free, the oldest stream of
    /// the client that has the most may be ended. Returns false if there is no slot.
    pub fn take(&self, client: C, end: &CancellationToken) -> bool {
        let mut open = self.open.lock();
        open.retain(|(_, end)| !end.is_cancelled());
        if open.len() >= self.max {
            let mut counts = HashMap::new();
            for (client, _) in open.iter() {
                *counts.entry(*client).or_insert(0) += 1;
            }
            let count = |client| counts.get(client).copied().unwrap_or(0);
            // Reversed, since `max_by_key` returns the last of equal items.
            let streams = open.iter().enumerate().rev();
            let most = streams.max_by_key(|(_, (of, _))| count(of));
            let min = count(&client) + self.min_excess;
            let Some((at, _)) = most.filter(|(_, (of, _))| count(of) >= min) else {
                return false;
            };
            // A stream whose client reads nothing is not dropped before its connection ends, but no
            // longer takes a slot; the listener bounds such requests.
            let (_, ended) = open.remove(at);
            ended.cancel();
        }
        open.push((client, end.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_of_the_client_with_the_most_ends() {
        let slots = StreamSlots::new(4, 2);
        let tokens = [(); 6].map(|()| CancellationToken::new());
        let take = |at: usize, client| slots.take(client, &tokens[at]);
        assert!(take(0, 1) && take(1, 2) && take(2, 2) && take(3, 2));
        assert!(!take(4, 2), "it has the most itself");
        assert!(take(4, 3));
        let ended = tokens.each_ref().map(CancellationToken::is_cancelled);
        assert_eq!(ended, [false, true, false, false, false, false]);
        assert!(
            !take(5, 1),
            "it would have as many as the one with the most"
        );
        assert!(take(5, 4) && tokens[2].is_cancelled());
    }

    #[test]
    fn only_stream_of_a_client_stays() {
        let slots = StreamSlots::new(1, 2);
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        assert!(slots.take(1, &first));
        assert!(!slots.take(2, &second));
        first.cancel();
        assert!(slots.take(2, &second));
    }

    #[test]
    fn without_excess_a_stream_always_has_a_slot() {
        let slots = StreamSlots::new(2, 0);
        let tokens = [(); 4].map(|()| CancellationToken::new());
        for (client, end) in [1, 1, 1, 2].into_iter().zip(&tokens) {
            assert!(slots.take(client, end));
        }
        let ended = tokens.each_ref().map(CancellationToken::is_cancelled);
        assert_eq!(ended, [true, true, false, false]);
    }
}
