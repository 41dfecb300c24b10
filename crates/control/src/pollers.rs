//! A bounded record of the clients that poll Jaeger's remote sampling.

mod requests;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use spoor_policy::{Namespace, ServiceName};

use self::requests::Requests;
use crate::instance::ServiceKey;

/// The longest part of a user agent that is compared, in bytes.
const MAX_USER_AGENT_BYTES: usize = 64;

/// The most user agents of one address that are remembered for one service. They are limited since a
/// client chooses its own.
const MAX_USER_AGENTS: usize = 64;

/// The shortest time between two counts of the clients of a service with many sources, and between two
/// removals of stale sources. Under a rate limit, each poll and each message of a stream needs the
/// number of clients, and counting those of 10,000 sources takes tens of milliseconds.
const MIN_VISIT_INTERVAL: Duration = Duration::from_secs(1);

/// The most sources of a service whose clients are counted each time.
const MAX_SOURCES_VISITED: usize = 16;

/// The prefixes of the user agents of browsers, and of tools that people and health checks use.
const NON_SDK_USER_AGENTS: [&str; 7] = [
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
    pub(crate) address: IpAddr,
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
    /// The earliest time of the next removal of stale sources.
    next_removal: Option<Instant>,
}

/// The sources of one service.
#[derive(Debug, Default)]
struct Sources {
    requests: HashMap<IpAddr, UserAgents>,
    /// The clients as last counted.
    clients: Arc<PollingClients>,
    /// The earliest time of the next count.
    next_count: Option<Instant>,
}

/// The requests from one address by user agent.
type UserAgents = HashMap<Box<str>, Requests>;

/// The clients that poll for one service.
#[derive(Debug, Default)]
pub(crate) struct PollingClients {
    pub(crate) total: usize,
    pub(crate) by_address: BTreeMap<IpAddr, usize>,
}

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

    fn may_be_sampler(&self) -> bool {
        let mut tools = NON_SDK_USER_AGENTS.iter();
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
        let at_address = known.at_address(key, source.address);
        if !at_address.is_some_and(|it| it.contains_key(&source.user_agent)) {
            // Stale sources are removed only when there is no room, since that visits all of them.
            if known.count >= self.max {
                known.remove_stale(now, self.max_interval);
            }
            let at_address = known.at_address(key, source.address);
            let user_agents = at_address.map_or(0, HashMap::len);
            if known.count >= self.max || user_agents >= MAX_USER_AGENTS {
                return;
            }
            known.count += 1;
        }
        let sources = known.by_service.entry(key.clone()).or_default();
        let at_address = sources.requests.entry(source.address).or_default();
        let requests = at_address.entry(source.user_agent.clone()).or_default();
        requests.add(source.port, now, self.max_interval);
    }

    /// A service's clients.
    pub(crate) fn clients(&self, key: &ServiceKey, now: Instant) -> Arc<PollingClients> {
        let mut known = self.known.lock();
        let sources = known.by_service.get_mut(key);
        sources.map_or_else(Arc::default, |sources| sources.clients(now))
    }

    /// The number of clients that a rate limit is divided by in the response to `source`: the known
    /// clients, and this one.
    pub(crate) fn sharers(
        &self,
        key: &ServiceKey,
        source: Option<&PollSource>,
        now: Instant,
    ) -> usize {
        let known = self.clients(key, now).total;
        let Some(source) = source else { return known };
        let sources = self.known.lock();
        let at_address = sources.at_address(key, source.address);
        match at_address.and_then(|it| it.get(&source.user_agent)) {
            Some(own) => known.saturating_sub(own.clients(now)) + own.sharers(source.port, now),
            None => known + 1,
        }
    }

    /// The services of a namespace that clients poll for.
    pub(crate) fn services(&self, namespace: &Namespace, now: Instant) -> Vec<ServiceName> {
        let mut known = self.known.lock();
        let services = known.by_service.iter_mut();
        let polled = services.filter_map(|((of, service), sources)| {
            let is_polled = of == namespace && sources.clients(now).total > 0;
            is_polled.then(|| service.clone())
        });
        polled.collect()
    }

    /// True if any SDK has recently requested the strategy of a service, even once.
    pub(crate) fn has_recent(&self, key: &ServiceKey, now: Instant) -> bool {
        let known = self.known.lock();
        let sources = known.by_service.get(key).into_iter();
        let mut requests = sources.flat_map(|it| it.requests.values().flat_map(HashMap::values));
        requests.any(|requests| !requests.is_stale(now, self.max_interval))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().count
    }
}

impl KnownSources {
    /// The requests from an address for a service.
    fn at_address(&self, key: &ServiceKey, address: IpAddr) -> Option<&UserAgents> {
        self.by_service.get(key)?.requests.get(&address)
    }

    fn remove_stale(&mut self, now: Instant, max_interval: Duration) {
        if self.next_removal.is_some_and(|next| now < next) {
            return;
        }
        self.next_removal = Some(now + MIN_VISIT_INTERVAL);
        self.count = 0;
        self.by_service.retain(|_, sources| {
            sources.requests.retain(|_, at_address| {
                at_address.retain(|_, requests| !requests.is_stale(now, max_interval));
                self.count += at_address.len();
                !at_address.is_empty()
            });
            !sources.requests.is_empty()
        });
    }
}

impl Sources {
    /// The clients. If there are many sources, they are counted again only when the next count is
    /// due.
    fn clients(&mut self, now: Instant) -> Arc<PollingClients> {
        if self.next_count.is_some_and(|next| now < next) {
            return self.clients.clone();
        }
        let (mut clients, mut sources) = (PollingClients::default(), 0);
        for (address, at_address) in &self.requests {
            sources += at_address.len();
            let polling: usize = at_address.values().map(|it| it.clients(now)).sum();
            if polling > 0 {
                clients.by_address.insert(*address, polling);
                clients.total += polling;
            }
        }
        let is_large = sources > MAX_SOURCES_VISITED;
        self.next_count = is_large.then_some(now + MIN_VISIT_INTERVAL);
        self.clients = Arc::new(clients);
        self.clients.clone()
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
            .by_address
            .iter()
            .map(|(address, clients)| format!("{address} {clients}"))
            .collect();
        assert_eq!(clients, ["10.0.0.2 1", "127.0.0.1 2"]);
        assert_eq!(pollers.clients(&key("a"), now).total, 3);
        assert_eq!(pollers.clients(&key("b"), now).total, 0);
    }

    #[rstest]
    #[case("Mozilla/5.0 (X11; Linux x86_64)")]
    #[case("curl/8.5.0")]
    #[case("kube-probe/1.33")]
    fn browsers_and_tools_are_not_clients(#[case] user_agent: &str) {
        let (pollers, now) = polled(&[source("127.0.0.1:1", user_agent)]);
        assert_eq!(pollers.clients(&key("a"), now).total, 0);
        assert_eq!(pollers.len(), 0);
    }

    #[test]
    fn clients_of_many_sources_are_counted_rarely() {
        let pollers = Pollers::new(1_000, Duration::from_secs(60));
        let start = Instant::now();
        let sources: Vec<PollSource> = (1..=20)
            .map(|number| source(&format!("10.0.0.{number}:1"), "sdk"))
            .collect();
        let poll = |sources: &[PollSource], second: u64| {
            for source in sources {
                pollers.record(&key("a"), source, start + Duration::from_secs(second));
            }
        };
        let sharers = |of: usize, millis: u64| {
            let now = start + Duration::from_millis(millis);
            pollers.sharers(&key("a"), sources.get(of), now)
        };
        poll(&sources[..19], 0);
        poll(&sources[..19], 5);
        poll(&sources[..19], 10);
        assert_eq!([sharers(0, 10_000), sharers(19, 10_000)], [19, 20]);
        assert_eq!(sharers(0, 12_000), 19);
        // The others become overdue, which the next count notices.
        poll(&sources[..1], 15);
        poll(&sources[..1], 20);
        poll(&sources[..1], 25);
        poll(&sources[..1], 30);
        assert_eq!(sharers(0, 30_000), 1);
        // A source that is not counted yet has a share, too.
        poll(&sources[19..], 30);
        assert_eq!([sharers(0, 30_001), sharers(19, 30_001)], [1, 2]);
        let clients = pollers.clients(&key("a"), start + Duration::from_millis(30_002));
        assert_eq!(clients.by_address.len(), 1);
        let same = pollers.clients(&key("a"), start + Duration::from_millis(30_003));
        assert!(Arc::ptr_eq(&clients, &same));
    }

    #[test]
    fn first_request_counts_as_one_more_client() {
        let (pollers, now) = polled(&[source("127.0.0.1:1", "Go-http-client/1.1")]);
        let known = source("127.0.0.1:1", "Go-http-client/1.1");
        let other = source("127.0.0.1:7", "OTel-OTLP");
        let person = source("127.0.0.1:8", "curl/8.5.0");
        let sharers = |it| pollers.sharers(&key("a"), it, now);
        assert_eq!([sharers(None), sharers(Some(&known))], [1, 1]);
        assert_eq!([sharers(Some(&other)), sharers(Some(&person))], [2, 2]);
    }
}
