//! The clients of the stock doors, told apart by address, a bounded number of them.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::services::Key;

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
    asked: HashMap<Key, HashMap<IpAddr, Instant>>,
}

impl Pollers {
    pub(crate) fn new(max: usize, polling_for: Duration) -> Self {
        Self {
            max,
            polling_for,
            known: Mutex::default(),
        }
    }

    /// Notes that a client asked; says whether it is new.
    pub(crate) fn asked(&self, key: &Key, peer: IpAddr, now: Instant) -> bool {
        let mut known = self.known.lock();
        if let Some(last) = known.asked.get_mut(key).and_then(|it| it.get_mut(&peer)) {
            *last = now;
            return false;
        }
        if known.clients >= self.max {
            known.forget(now, self.polling_for);
        }
        if known.clients >= self.max {
            return false;
        }
        known.clients += 1;
        known
            .asked
            .entry(key.clone())
            .or_default()
            .insert(peer, now);
        true
    }

    /// A service's clients that asked lately.
    pub(crate) fn clients(&self, key: &Key, now: Instant) -> Vec<IpAddr> {
        let known = self.known.lock();
        let asked = known.asked.get(key).into_iter().flatten();
        let mut clients: Vec<IpAddr> = asked
            .filter(|(_, last)| now.saturating_duration_since(**last) <= self.polling_for)
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

impl Known {
    fn forget(&mut self, now: Instant, after: Duration) {
        self.asked.retain(|_, peers| {
            peers.retain(|_, last| now.saturating_duration_since(*last) <= after);
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
        assert!(pollers.asked(&key("a"), peer, start));
        assert!(!pollers.asked(&key("a"), peer, start));
        assert!(pollers.asked(&key("b"), peer, start));
        assert!(!pollers.asked(&key("c"), peer, start));
        assert_eq!(pollers.len(), 2);
        assert_eq!(pollers.clients(&key("a"), start), [peer]);
        let later = start + Duration::from_secs(11);
        assert!(pollers.clients(&key("a"), later).is_empty());
        assert!(pollers.asked(&key("c"), peer, later));
        assert_eq!(pollers.len(), 1);
    }
}
