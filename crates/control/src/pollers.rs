//! The clients that poll the stock listeners, a bounded number of them.

mod requests;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use spoor_policy::{Namespace, ServiceName};

use self::requests::Requests;
use crate::services::Key;

/// The part of a user agent that tells clients apart, in bytes.
const MAX_USER_AGENT_BYTES: usize = 64;

/// The user agents of browsers, and of the tools that people and health checks ask with.
const NO_SAMPLERS: [&str; 7] = [
    "Mozilla/",
    "curl/",
    "Wget/",
    "HTTPie/",
    "PostmanRuntime/",
    "kube-probe/",
    "Prometheus/",
];

/// Who sends a request, as far as it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    address: IpAddr,
    port: u16,
    user_agent: Box<str>,
}

/// Who asked lately.
#[derive(Debug)]
pub(crate) struct Pollers {
    max: usize,
    max_interval: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sources: usize,
    asked: HashMap<Key, Sources>,
}

/// Requests by what tells their senders apart without their connection.
type Sources = HashMap<(IpAddr, Box<str>), Requests>;

impl Asker {
    /// A request from this address, with this user agent.
    pub(crate) fn new(peer: SocketAddr, user_agent: Option<&[u8]>) -> Self {
        let user_agent = user_agent.unwrap_or_default();
        let told_apart = user_agent.get(..MAX_USER_AGENT_BYTES);
        let user_agent = String::from_utf8_lossy(told_apart.unwrap_or(user_agent));
        Self {
            address: peer.ip().to_canonical(),
            port: peer.port(),
            user_agent: user_agent.into(),
        }
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    fn may_be_sampler(&self) -> bool {
        let mut tools = NO_SAMPLERS.iter();
        !tools.any(|tool| self.user_agent.starts_with(tool))
    }
}

impl Pollers {
    /// Remembers at most so many senders, and takes no longer interval than this for polling.
    pub(crate) fn new(max: usize, max_interval: Duration) -> Self {
        Self {
            max,
            max_interval,
            known: Mutex::default(),
        }
    }

    /// Notes that a client asked.
    pub(crate) fn asked(&self, key: &Key, asker: &Asker, now: Instant) {
        if !asker.may_be_sampler() {
            return;
        }
        let mut known = self.known.lock();
        let source = (asker.address, asker.user_agent.clone());
        let is_known = |sources: &Sources| sources.contains_key(&source);
        if !known.asked.get(key).is_some_and(is_known) {
            if known.sources >= self.max {
                known.forget(now, self.max_interval);
            }
            if known.sources >= self.max {
                return;
            }
            known.sources += 1;
        }
        let sources = known.asked.entry(key.clone()).or_default();
        let requests = sources.entry(source).or_default();
        requests.add(asker.port, now, self.max_interval);
    }

    /// A service's clients by their address.
    pub(crate) fn clients(&self, key: &Key, now: Instant) -> BTreeMap<IpAddr, usize> {
        let known = self.known.lock();
        let mut clients = BTreeMap::new();
        for ((address, _), requests) in known.asked.get(key).into_iter().flatten() {
            let polling = requests.clients(now);
            if polling > 0 {
                *clients.entry(*address).or_default() += polling;
            }
        }
        clients
    }

    /// How many clients of a service there are.
    pub(crate) fn count(&self, key: &Key, now: Instant) -> usize {
        self.clients(key, now).into_values().sum()
    }

    /// Among how many clients a limit is divided for this one: those that are known and itself.
    pub(crate) fn sharers(&self, key: &Key, asker: Option<&Asker>, now: Instant) -> usize {
        let known = self.known.lock();
        let sources = known.asked.get(key).into_iter().flatten();
        let mut is_counted = asker.is_none();
        let mut sharers = 0;
        for ((address, user_agent), requests) in sources {
            match asker {
                Some(it) if (it.address, &it.user_agent) == (*address, user_agent) => {
                    is_counted = true;
                    sharers += requests.sharers(it.port, now);
                }
                _ => sharers += requests.clients(now),
            }
        }
        sharers + usize::from(!is_counted)
    }

    /// The services of a namespace that clients poll for.
    pub(crate) fn services(&self, namespace: &Namespace, now: Instant) -> Vec<ServiceName> {
        let known = self.known.lock();
        let polls = |sources: &Sources| sources.values().any(|it| it.clients(now) > 0);
        let asked = known.asked.iter();
        asked
            .filter(|((of, _), sources)| of == namespace && polls(sources))
            .map(|((_, service), _)| service.clone())
            .collect()
    }

    /// Whether any sampler has asked for a service lately.
    pub(crate) fn has_asked(&self, key: &Key, now: Instant) -> bool {
        let known = self.known.lock();
        let requests = known.asked.get(key).into_iter().flat_map(HashMap::values);
        requests
            .into_iter()
            .any(|it| !it.is_stale(now, self.max_interval))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().sources
    }
}

impl Known {
    fn forget(&mut self, now: Instant, max_interval: Duration) {
        self.asked.retain(|_, sources| {
            sources.retain(|_, requests| !requests.is_stale(now, max_interval));
            !sources.is_empty()
        });
        self.sources = self.asked.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    fn key(name: &str) -> Key {
        (Default::default(), name.parse().unwrap())
    }

    fn asker(address: &str, user_agent: &str) -> Asker {
        Asker::new(address.parse().unwrap(), Some(user_agent.as_bytes()))
    }

    /// Asks every five seconds, a minute long.
    fn polled(askers: &[Asker]) -> (Pollers, Instant) {
        let pollers = Pollers::new(10, Duration::from_secs(60));
        let start = Instant::now();
        for second in (0..=60).step_by(5) {
            for asker in askers {
                pollers.asked(&key("a"), asker, start + Duration::from_secs(second));
            }
        }
        (pollers, start + Duration::from_secs(60))
    }

    #[test]
    fn sources_are_bounded_and_forgotten() {
        let pollers = Pollers::new(2, Duration::from_secs(10));
        let sampler = asker("127.0.0.1:9", "Go-http-client/1.1");
        let start = Instant::now();
        for name in ["a", "a", "b", "c"] {
            pollers.asked(&key(name), &sampler, start);
        }
        assert_eq!(pollers.len(), 2);
        let later = start + Duration::from_secs(13);
        pollers.asked(&key("c"), &sampler, later);
        assert_eq!(pollers.len(), 1);
        assert!(pollers.has_asked(&key("c"), later));
        assert!(!pollers.has_asked(&key("a"), later));
    }

    #[test]
    fn user_agents_and_addresses_are_told_apart() {
        let (pollers, now) = polled(&[
            asker("127.0.0.1:1", "Go-http-client/1.1"),
            asker("127.0.0.1:2", "axios/1.7"),
            asker("[::ffff:10.0.0.2]:3", "Go-http-client/1.1"),
        ]);
        let found = pollers.clients(&key("a"), now);
        let found: Vec<String> = found
            .iter()
            .map(|(address, clients)| format!("{address} {clients}"))
            .collect();
        assert_eq!(found, ["10.0.0.2 1", "127.0.0.1 2"]);
        assert_eq!(pollers.count(&key("a"), now), 3);
        assert_eq!(pollers.count(&key("b"), now), 0);
    }

    #[rstest]
    #[case("Mozilla/5.0 (X11; Linux x86_64)")]
    #[case("curl/8.5.0")]
    #[case("kube-probe/1.33")]
    fn browsers_and_tools_are_no_clients(#[case] user_agent: &str) {
        let (pollers, now) = polled(&[asker("127.0.0.1:1", user_agent)]);
        assert_eq!(pollers.count(&key("a"), now), 0);
        assert_eq!(pollers.len(), 0);
    }

    #[test]
    fn who_asks_first_has_the_part_of_one_more() {
        let (pollers, now) = polled(&[asker("127.0.0.1:1", "Go-http-client/1.1")]);
        let known = asker("127.0.0.1:1", "Go-http-client/1.1");
        let other = asker("127.0.0.1:7", "OTel-OTLP");
        let person = asker("127.0.0.1:8", "curl/8.5.0");
        let sharers = |it| pollers.sharers(&key("a"), it, now);
        assert_eq!([sharers(None), sharers(Some(&known))], [1, 1]);
        assert_eq!([sharers(Some(&other)), sharers(Some(&person))], [2, 2]);
    }
}
