//! The clients of the stock doors, told apart by address, a bounded number of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::services::Key;

/// Who has asked so often polls, and did not only have a look.
const REGULAR: u32 = 3;

/// Who asked lately.
#[derive(Debug)]
pub(crate) struct Pollers {
    max: usize,
    polling_for: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    clients: usize,
    asked: HashMap<Key, HashMap<IpAddr, Asked>>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    last: Instant,
    times: u32,
}

impl Pollers {
    pub(crate) fn new(max: usize, polling_for: Duration) -> Self {
        Self {
            max,
            polling_for,
            known: Mutex::default(),
        }
    }

    /// Notes that a client asked.
    pub(crate) fn asked(&self, key: &Key, peer: IpAddr, now: Instant) {
        let mut known = self.known.lock();
        if let Some(asked) = known.asked.get_mut(key).and_then(|it| it.get_mut(&peer)) {
            let is_back = !asked.is_over(now, self.polling_for);
            asked.times = if is_back {
                asked.times.saturating_add(1)
            } else {
                1
            };
            asked.last = now;
            return;
        }
        if known.clients >= self.max {
            known.forget(now, self.polling_for);
        }
        if known.clients >= self.max {
            return;
        }
        known.clients += 1;
        known.asked.entry(key.clone()).or_default().insert(
            peer,
            Asked {
                last: now,
                times: 1,
            },
        );
    }

    /// A service's clients that asked lately. Where instances hold streams, whoever only has a
    /// look is none: it would take a share of their rate limit.
    pub(crate) fn clients(&self, key: &Key, has_streams: bool, now: Instant) -> Vec<IpAddr> {
        let least = if has_streams { REGULAR } else { 1 };
        let known = self.known.lock();
        let asked = known.asked.get(key).into_iter().flatten();
        let mut clients: Vec<IpAddr> = asked
            .filter(|(_, asked)| asked.times >= least && !asked.is_over(now, self.polling_for))
            .map(|(peer, _)| *peer)
            .collect();
        clients.sort_unstable();
        clients
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().clients
    }
}

impl Asked {
    fn is_over(&self, now: Instant, after: Duration) -> bool {
        now.saturating_duration_since(self.last) > after
    }
}

impl Known {
    fn forget(&mut self, now: Instant, after: Duration) {
        self.asked.retain(|_, peers| {
            peers.retain(|_, asked| !asked.is_over(now, after));
            !peers.is_empty()
        });
        self.clients = self.asked.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn are_bounded_and_forgotten() {
        let pollers = Pollers::new(2, Duration::from_secs(10));
        let key = |name: &str| (Default::default(), name.parse().unwrap());
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let start = Instant::now();
        for name in ["a", "a", "b", "c"] {
            pollers.asked(&key(name), peer, start);
        }
        assert_eq!(pollers.len(), 2);
        assert_eq!(pollers.clients(&key("a"), false, start), [peer]);
        assert!(pollers.clients(&key("c"), false, start).is_empty());
        let later = start + Duration::from_secs(11);
        assert!(pollers.clients(&key("a"), false, later).is_empty());
        pollers.asked(&key("c"), peer, later);
        assert_eq!(pollers.len(), 1);
    }

    #[test]
    fn a_look_is_no_client_beside_streams() {
        let pollers = Pollers::new(2, Duration::from_secs(10));
        let key = (Default::default(), "a".parse().unwrap());
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let start = Instant::now();
        let found = |seconds| {
            let now = start + Duration::from_secs(seconds);
            pollers.asked(&key, peer, now);
            pollers.clients(&key, true, now).len()
        };
        assert_eq!([found(0), found(5), found(10), found(15)], [0, 0, 1, 1]);
        assert_eq!(found(30), 0, "it was gone in between");
    }
}
