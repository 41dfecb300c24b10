//! A limit on policy streams, fair to each connection.

use std::{collections::HashMap, net::SocketAddr};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The slots of the open streams.
#[derive(Debug)]
pub(crate) struct StreamSlots {
    max: usize,
    /// The connection of each stream and the token that ends it, the oldest first.
    open: Mutex<Vec<(Option<SocketAddr>, CancellationToken)>>,
}

impl StreamSlots {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    /// Takes a slot for a stream until its token is cancelled. If none is free, the oldest stream of
    /// the connection with the most streams ends, if it has at least two more than this connection.
    /// Returns false if there is no slot.
    ///
    /// Clients need one stream each, and open another when it ends. If all new streams were refused,
    /// two connections could lock out all other clients.
    pub(crate) fn take(&self, connection: Option<SocketAddr>, end: &CancellationToken) -> bool {
        let mut open = self.open.lock();
        open.retain(|(_, end)| !end.is_cancelled());
        if open.len() >= self.max {
            let mut counts = HashMap::new();
            for (connection, _) in open.iter() {
                *counts.entry(*connection).or_insert(0) += 1;
            }
            let count = |connection| counts.get(connection).copied().unwrap_or(0);
            // Reversed, since `max_by_key` returns the last of equal items.
            let streams = open.iter().enumerate().rev();
            let most = streams.max_by_key(|(_, (of, _))| count(of));
            let most = most.filter(|(_, (of, _))| count(of) > count(&connection) + 1);
            let Some((at, _)) = most else {
                return false;
            };
            // A stream whose client reads nothing is not dropped before its connection ends, but no
            // longer takes a slot; the listener bounds such requests.
            let (_, ended) = open.remove(at);
            ended.cancel();
        }
        open.push((connection, end.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    #[test]
    fn stream_of_the_busiest_connection_ends() {
        let slots = StreamSlots::new(4);
        let tokens = [(); 6].map(|()| CancellationToken::new());
        let take = |at: usize, port| slots.take(connection(port), &tokens[at]);
        assert!(take(0, 1) && take(1, 2) && take(2, 2) && take(3, 2));
        assert!(!take(4, 2), "its own connection has the most");
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
    fn only_stream_of_a_connection_is_kept() {
        let slots = StreamSlots::new(1);
        let (first, second) = (CancellationToken::new(), CancellationToken::new());
        assert!(slots.take(connection(1), &first));
        assert!(!slots.take(connection(2), &second));
        first.cancel();
        assert!(slots.take(connection(2), &second));
    }
}
