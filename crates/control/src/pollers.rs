//! A bounded record of the clients that poll Jaeger's remote sampling.

mod requests;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use spoor_policy::{Namespace, ServiceName};

use self::requests::Requests;
use crate::instance::ServiceKey;

/// The longest part of a user agent that is compared, in bytes.
const MAX_USER_AGENT_BYTES: usize = 64;

/// The most user agents of one address that poll for one service. A client chooses its own, and each
/// takes time whenever a rate limit is shared.
const MAX_USER_AGENTS: usize = 64;

/// The user agents of browsers, and of tools that people and health checks use.
const OTHER_USER_AGENTS: [&str; 7] = [
    "Mozilla/",
    "curl/",
    "Wget/",
    "HTTPie/",
    "PostmanRuntime/",
    "kube-probe/",
    "Prometheus/",
];

/// The sender of a request, as far as it can be identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PollSource {
    address: IpAddr,
    port: u16,
    user_agent: Box<str>,
}

/// The senders of recent requests.
#[derive(Debug)]
pub(crate) struct Pollers {
    max: usize,
    max_interval: Duration,
    known: Mutex<KnownSources>,
}

#[derive(Debug, Default)]
struct KnownSources {
    /// The number of sources of all services.
    count: usize,
    by_service: HashMap<ServiceKey, Sources>,
}

/// Requests by address and user agent.
type Sources = HashMap<(IpAddr, Box<str>), Requests>;

impl PollSource {
    /// The sender of a request from this address, with this user agent.
    pub(crate) fn new(peer: SocketAddr, user_agent: Option<&[u8]>) -> Self {
        let user_agent = user_agent.unwrap_or_default();
        let compared = user_agent.get(..MAX_USER_AGENT_BYTES).unwrap_or(user_agent);
        let user_agent = String::from_utf8_lossy(compared);
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
        let mut tools = OTHER_USER_AGENTS.iter();
        !tools.any(|tool| self.user_agent.starts_with(tool))
    }
}

impl Pollers {
    /// Creates a record of at most `max` sources. Only requests at intervals of at most
    /// `max_interval` count as polling.
    pub(crate) fn new(max: usize, max_interval: Duration) -> Self {
        Self {
            max,
            max_interval,
            known: Mutex::default(),
        }
    }

    /// Records a request.
    pub(crate) fn record(&self, key: &ServiceKey, source: &PollSource, now: Instant) {
        // The request of a person must not take a share of the rate limit.
        if !source.may_be_sampler() {
            return;
        }
        let mut known = self.known.lock();
        let sender = (source.address, source.user_agent.clone());
        let is_known = |sources: &Sources| sources.contains_key(&sender);
        if !known.by_service.get(key).is_some_and(is_known) {
            // Stale sources are removed only when there is no room, since that visits all of them.
            if known.count >= self.max {
                known.remove_stale(now, self.max_interval);
            }
            let of_address = known.sources_at(key, source.address);
            if known.count >= self.max || of_address >= MAX_USER_AGENTS {
                return;
            }
            known.count += 1;
        }
        let sources = known.by_service.entry(key.clone()).or_default();
        let requests = sources.entry(sender).or_default();
        requests.add(source.port, now, self.max_interval);
    }

    /// The number of a service's clients at each address.
    pub(crate) fn clients(&self, key: &ServiceKey, now: Instant) -> BTreeMap<IpAddr, usize> {
        let known = self.known.lock();
        let mut clients = BTreeMap::new();
        for ((address, _), requests) in known.by_service.get(key).into_iter().flatten() {
            let polling = requests.clients(now);
            if polling > 0 {
                *clients.entry(*address).or_default() += polling;
            }
        }
        clients
    }

    /// The number of a service's clients.
    pub(crate) fn count(&self, key: &ServiceKey, now: Instant) -> usize {
        self.clients(key, now).into_values().sum()
    }

    /// The number of clients that a rate limit is divided by for this one: the known ones, and
    /// itself.
    pub(crate) fn sharers(
        &self,
        key: &ServiceKey,
        source: Option<&PollSource>,
        now: Instant,
    ) -> usize {
        let known = self.known.lock();
        let sources = known.by_service.get(key).into_iter().flatten();
        let mut is_counted = source.is_none();
        let mut sharers = 0;
        for ((address, user_agent), requests) in sources {
            match source {
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
        let services = known.by_service.iter();
        services
            .filter(|((of, _), sources)| of == namespace && polls(sources))
            .map(|((_, service), _)| service.clone())
            .collect()
    }

    /// True if any SDK has recently polled for a service.
    pub(crate) fn has_recent(&self, key: &ServiceKey, now: Instant) -> bool {
        let known = self.known.lock();
        let mut sources = known.by_service.get(key).into_iter().flatten();
        sources.any(|(_, requests)| !requests.is_stale(now, self.max_interval))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().count
    }
}

impl KnownSources {
    fn sources_at(&self, key: &ServiceKey, address: IpAddr) -> usize {
        let sources = self.by_service.get(key).into_iter().flatten();
        sources.filter(|((of, _), _)| *of == address).count()
    }

    fn remove_stale(&mut self, now: Instant, max_interval: Duration) {
        self.by_service.retain(|_, sources| {
            sources.retain(|_, requests| !requests.is_stale(now, max_interval));
            !sources.is_empty()
        });
        self.count = self.by_service.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;

    use super::*;

    fn key(name: &str) -> ServiceKey {
        (Default::default(), name.parse().unwrap())
    }

    fn source(address: &str, user_agent: &str) -> PollSource {
        PollSource::new(address.parse().unwrap(), Some(user_agent.as_bytes()))
    }

    /// Polls every five seconds for a minute.
    fn polled(sources: &[PollSource]) -> (Pollers, Instant) {
        let pollers = Pollers::new(10, Duration::from_secs(60));
        let start = Instant::now();
        for second in (0..=60).step_by(5) {
            for source in sources {
                pollers.record(&key("a"), source, start + Duration::from_secs(second));
            }
        }
        (pollers, start + Duration::from_secs(60))
    }

    #[test]
    fn sources_are_bounded_and_forgotten() {
        let pollers = Pollers::new(2, Duration::from_secs(10));
        let sampler = source("127.0.0.1:9", "Go-http-client/1.1");
        let start = Instant::now();
        for name in ["a", "a", "b", "c"] {
            pollers.record(&key(name), &sampler, start);
        }
        assert_eq!(pollers.len(), 2);
        let later = start + Duration::from_secs(13);
        pollers.record(&key("c"), &sampler, later);
        assert_eq!(pollers.len(), 1);
        assert!(pollers.has_recent(&key("c"), later));
        assert!(!pollers.has_recent(&key("a"), later));
    }

    #[test]
    fn user_agents_of_one_address_are_bounded() {
        let pollers = Pollers::new(1_000, Duration::from_secs(60));
        for number in 0..100 {
            let agent = format!("sdk/{number}");
            pollers.record(&key("a"), &source("10.0.0.1:1", &agent), Instant::now());
        }
        assert_eq!(pollers.len(), MAX_USER_AGENTS);
        let other = source("10.0.0.2:1", "sdk/100");
        pollers.record(&key("a"), &other, Instant::now());
        assert_eq!(pollers.len(), MAX_USER_AGENTS + 1);
    }

    #[test]
    fn distinguishes_user_agents_and_addresses() {
        let (pollers, now) = polled(&[
            source("127.0.0.1:1", "Go-http-client/1.1"),
            source("127.0.0.1:2", "axios/1.7"),
            source("[::ffff:10.0.0.2]:3", "Go-http-client/1.1"),
        ]);
        let clients = pollers.clients(&key("a"), now);
        let clients: Vec<String> = clients
            .iter()
            .map(|(address, clients)| format!("{address} {clients}"))
            .collect();
        assert_eq!(clients, ["10.0.0.2 1", "127.0.0.1 2"]);
        assert_eq!(pollers.count(&key("a"), now), 3);
        assert_eq!(pollers.count(&key("b"), now), 0);
    }

    #[rstest]
    #[case("Mozilla/5.0 (X11; Linux x86_64)")]
    #[case("curl/8.5.0")]
    #[case("kube-probe/1.33")]
    fn browsers_and_tools_are_not_clients(#[case] user_agent: &str) {
        let (pollers, now) = polled(&[source("127.0.0.1:1", user_agent)]);
        assert_eq!(pollers.count(&key("a"), now), 0);
        assert_eq!(pollers.len(), 0);
    }

    #[test]
    fn first_request_gets_the_share_of_one_more() {
        let (pollers, now) = polled(&[source("127.0.0.1:1", "Go-http-client/1.1")]);
        let known = source("127.0.0.1:1", "Go-http-client/1.1");
        let other = source("127.0.0.1:7", "OTel-OTLP");
        let person = source("127.0.0.1:8", "curl/8.5.0");
        let sharers = |it| pollers.sharers(&key("a"), it, now);
        assert_eq!([sharers(None), sharers(Some(&known))], [1, 1]);
        assert_eq!([sharers(Some(&other)), sharers(Some(&person))], [2, 2]);
    }
}
