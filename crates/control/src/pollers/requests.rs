//! The number of processes behind the requests of one user agent at one address.
//!
//! Jaeger's protocol does not name processes, but each process polls at a regular interval, and
//! many keep their connection. So the sequence of requests of `n` processes with the same interval
//! repeats every `n` requests, and a connection with several requests is one process.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// The most requests remembered, enough to tell 31 processes apart.
const MAX_REQUESTS: usize = 64;

/// The requests needed to see two equal intervals.
const MIN_REQUESTS: usize = 3;

/// The requests that count as polling even without a regular interval. Fewer may be the first
/// requests of several clients.
const MIN_IRREGULAR_REQUESTS: usize = 32;

/// The shortest interval that counts as polling. Shorter ones are load tests: no SDK polls more
/// than once a second unless configured to.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The tolerance of an interval, for delays by timers, the network and a busy machine.
const MAX_JITTER: Duration = Duration::from_millis(100);

/// The most that a client may be late, in addition to one request that it may miss.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// The latest requests of one user agent at one address.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Oldest first.
    recent: VecDeque<Request>,
    rhythm: Option<Rhythm>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    at: Instant,
    port: u16,
}

/// A number of clients that each ask once in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rhythm {
    clients: usize,
    period: Duration,
}

impl Requests {
    /// Records a request on the connection from this port.
    pub(super) fn add(&mut self, port: u16, now: Instant, max_interval: Duration) {
        let is_over = |rhythm: Rhythm| self.is_over(rhythm.period, now);
        // After a gap the old requests would hide the new rhythm.
        if self.is_stale(now, max_interval) || self.rhythm.is_some_and(is_over) {
            *self = Self::default();
        }
        if self.recent.len() == MAX_REQUESTS {
            self.recent.pop_front();
        }
        self.recent.push_back(Request { at: now, port });
        if let Some(rhythm) = self.find_rhythm(max_interval) {
            self.rhythm = Some(rhythm);
        }
    }

    /// The number of processes that poll. One or two requests are not yet a process.
    pub(super) fn clients(&self, now: Instant) -> usize {
        let rhythm = self.rhythm.filter(|it| !self.is_over(it.period, now));
        let by_rhythm = rhythm.map_or(0, |rhythm| rhythm.clients);
        by_rhythm.max(self.polling_connections(now))
    }

    /// The number of clients that a rate limit is divided by for the one on this connection, which
    /// is included.
    ///
    /// While no client is known to poll, every connection counts, since it may turn out to.
    pub(super) fn sharers(&self, port: u16, now: Instant) -> usize {
        let connections: HashSet<u16> = self.recent.iter().map(|it| it.port).collect();
        let asked = self.recent.iter().filter(|it| it.port == port).count();
        match self.clients(now) {
            0 => connections.len().max(1),
            known if asked == 1 && self.polling_connections(now) > 0 => known + 1,
            known => known,
        }
    }

    /// True if the last request is so old that the next one cannot continue the sequence.
    pub(super) fn is_stale(&self, now: Instant, max_interval: Duration) -> bool {
        let age = self.age(now);
        age.is_none_or(|age| age > max_interval + max_interval / 10 + MAX_LATENESS)
    }

    /// The number of connections with several requests whose next one is not overdue.
    fn polling_connections(&self, now: Instant) -> usize {
        let mut times: HashMap<u16, Vec<Instant>> = HashMap::new();
        for request in &self.recent {
            times.entry(request.port).or_default().push(request.at);
        }
        let polls = |times: &&Vec<Instant>| {
            let interval = match times[..] {
                [.., first, _, last] => (last - first) / 2,
                _ => return false,
            };
            let last = times.last().copied().unwrap_or(now);
            interval >= MIN_INTERVAL && now.saturating_duration_since(last) <= latest(interval)
        };
        times.values().filter(polls).count()
    }

    /// The smallest number of clients that explains the latest requests, if any does.
    fn find_rhythm(&self, max_interval: Duration) -> Option<Rhythm> {
        let times: Vec<Instant> = self.recent.iter().map(|it| it.at).collect();
        let allowed = MIN_INTERVAL..=max_interval + max_interval / 10;
        let before = self.rhythm.map_or(0, |rhythm| rhythm.clients);
        // The smallest number first: multiples of a period repeat as well.
        for clients in 1..=times.len() / 2 {
            // Three of many requests may happen to be evenly spaced. Fewer clients than before
            // are believed only on as much evidence as it took to find those.
            let evidence = MIN_REQUESTS.max(2 * clients.max(before) + 1);
            let Some(from) = times.len().checked_sub(evidence) else {
                break;
            };
            let latest = times.get(from..).unwrap_or_default();
            let period = period(latest, clients).filter(|period| allowed.contains(period));
            if let Some(period) = period {
                return Some(Rhythm { clients, period });
            }
        }
        self.irregular(&times)
            .filter(|it| allowed.contains(&it.period))
    }

    /// One client, if there are many requests without a regular interval.
    fn irregular(&self, times: &[Instant]) -> Option<Rhythm> {
        let is_known = self.rhythm.is_some() || times.len() < MIN_IRREGULAR_REQUESTS;
        let (first, last) = (times.first()?, times.last()?);
        let intervals = u32::try_from(times.len() - 1).ok()?;
        (!is_known).then(|| Rhythm {
            clients: 1,
            period: (*last - *first) / intervals,
        })
    }

    fn is_over(&self, interval: Duration, now: Instant) -> bool {
        self.age(now).is_none_or(|age| age > latest(interval))
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let last = self.recent.back()?;
        Some(now.saturating_duration_since(last.at))
    }
}

/// The time after its last request for which a client with this interval counts: it may miss one.
fn latest(interval: Duration) -> Duration {
    interval * 5 / 2 + MAX_LATENESS
}

/// The period of a sequence that repeats every `lag` requests, if it does.
fn period(times: &[Instant], lag: usize) -> Option<Duration> {
    let later = times.iter().skip(lag);
    let periods = later.zip(times).map(|(later, earlier)| *later - *earlier);
    let (shortest, longest) = (periods.clone().min()?, periods.max()?);
    let tolerance = shortest / 50 + MAX_JITTER.min(shortest / 4);
    (longest - shortest <= tolerance).then_some(shortest)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const MAX_INTERVAL: Duration = Duration::from_secs(300);

    /// The number of clients after each request, given its milliseconds and port.
    fn found(requests: &[(u64, u16)]) -> Vec<usize> {
        let start = Instant::now();
        let mut all = Requests::default();
        let counts = requests.iter().map(|(millis, port)| {
            let now = start + Duration::from_millis(*millis);
            all.add(*port, now, MAX_INTERVAL);
            all.clients(now)
        });
        counts.collect()
    }

    /// The requests of clients that begin at these milliseconds and ask at an interval.
    fn polls(begins: &[u64], interval: u64, times: u64, keeps_connection: bool) -> Vec<(u64, u16)> {
        let mut polls = vec![];
        for (client, begin) in (0..).zip(begins) {
            for time in 0..times {
                let port = match keeps_connection {
                    true => client,
                    false => client * 100 + u16::try_from(time).unwrap_or_default(),
                };
                polls.push((begin + time * interval, port));
            }
        }
        polls.sort_unstable();
        polls
    }

    #[test]
    fn a_single_request_is_no_client() {
        assert_eq!(found(&[(0, 1)]), [0]);
        assert_eq!(found(&[(0, 1), (5_000, 2)]), [0, 0]);
        assert_eq!(
            found(&[(0, 1), (5_000, 1), (7_000, 2), (19_000, 3)]),
            [0; 4]
        );
    }

    #[rstest]
    #[case::new_connections(false)]
    #[case::one_connection(true)]
    fn the_third_regular_request_is_a_client(#[case] keeps_connection: bool) {
        let polls = polls(&[0], 5_000, 5, keeps_connection);
        assert_eq!(found(&polls), [0, 0, 1, 1, 1]);
    }

    #[rstest]
    #[case::three_apart(&[0, 1_000, 3_000])]
    #[case::three_at_once(&[0, 10, 20])]
    #[case::two(&[0, 900])]
    #[case::ten(&[0, 300, 800, 1_000, 1_050, 1_700, 2_200, 3_100, 3_900, 4_200])]
    fn processes_at_one_address_are_told_apart(#[case] begins: &[u64]) {
        for keeps_connection in [false, true] {
            let polls = polls(begins, 5_000, 6, keeps_connection);
            assert_eq!(found(&polls).pop(), Some(begins.len()));
        }
    }

    #[test]
    fn evenly_spaced_connections_are_told_apart() {
        let begins = [0, 2_500];
        assert_eq!(found(&polls(&begins, 5_000, 6, true)).pop(), Some(2));
        // Not distinguishable from one process that polls twice as often.
        assert_eq!(found(&polls(&begins, 5_000, 6, false)).pop(), Some(1));
    }

    #[test]
    fn jitter_is_tolerated() {
        let late = [0, 40, 90, 10, 60];
        let polls: Vec<(u64, u16)> = (0..)
            .zip(late)
            .map(|(time, late)| (time * 5_000 + late, 1))
            .collect();
        assert_eq!(found(&polls), [0, 0, 1, 1, 1]);
    }

    #[test]
    fn frequent_irregular_requests_are_one_client() {
        // Gaps of 0 to 10 seconds without a pattern.
        let mut seed = 1_u64;
        let gaps = (0..MIN_IRREGULAR_REQUESTS).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % 10_000
        });
        let mut now = 0;
        let polls = (1..).zip(gaps).map(|(port, gap)| {
            now += gap;
            (now, port)
        });
        let found = found(&polls.collect::<Vec<_>>());
        assert_eq!(found.last(), Some(&1));
        assert!(found.iter().rev().skip(1).all(|clients| *clients == 0));
    }

    #[test]
    fn a_burst_of_requests_is_no_client() {
        let burst: Vec<(u64, u16)> = (0..60).map(|at| (at * 10, 1)).collect();
        assert_eq!(found(&burst).pop(), Some(0));
    }

    #[test]
    fn a_client_is_gone_after_its_interval() {
        for keeps_connection in [false, true] {
            let start = Instant::now();
            let mut all = Requests::default();
            for (millis, port) in polls(&[0], 5_000, 4, keeps_connection) {
                all.add(port, start + Duration::from_millis(millis), MAX_INTERVAL);
            }
            let after = |seconds: u64| all.clients(start + Duration::from_secs(15 + seconds));
            assert_eq!([after(5), after(12), after(14)], [1, 1, 0]);
        }
    }

    #[test]
    fn one_of_three_that_leaves_is_noticed() {
        let mut requests = polls(&[0, 1_000, 3_000], 5_000, 5, false);
        requests.extend(
            polls(&[25_000, 26_000], 5_000, 5, false)
                .iter()
                .map(|(at, port)| (*at, port + 1_000)),
        );
        assert_eq!(found(&requests).pop(), Some(2));
    }

    #[test]
    fn a_limit_is_divided_before_clients_are_known() {
        let now = Instant::now();
        let mut all = Requests::default();
        let mut ask = |port, at| {
            all.add(port, at, MAX_INTERVAL);
            all.sharers(port, at)
        };
        assert_eq!([ask(1, now), ask(2, now), ask(3, now)], [1, 2, 3]);
        let later = now + Duration::from_secs(5);
        assert_eq!([ask(1, later), ask(2, later), ask(3, later)], [3, 3, 3]);
        let later = now + Duration::from_secs(10);
        assert_eq!([ask(1, later), ask(2, later), ask(3, later)], [3, 3, 3]);
        assert_eq!(ask(4, later), 4, "a new client gets no more than its share");
    }

    #[test]
    fn requests_are_bounded() {
        let start = Instant::now();
        let mut all = Requests::default();
        for second in 0..1_000 {
            all.add(1, start + Duration::from_secs(second), MAX_INTERVAL);
        }
        assert_eq!(all.recent.len(), MAX_REQUESTS);
    }
}
