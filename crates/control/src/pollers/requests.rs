//! The number of processes behind the requests of one user agent at one address.
//!
//! Jaeger's protocol does not identify processes, but each process polls at a regular interval, and
//! many keep their connection. So the sequence of requests of `n` processes with the same interval
//! repeats every `n` requests, and a connection with several requests is one process.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// The most requests remembered, enough to distinguish 31 processes.
const MAX_REQUESTS: usize = 64;

/// The requests needed to see two equal intervals.
const MIN_REQUESTS: usize = 3;

/// The requests that count as polling even without a regular interval. Fewer may be the first
/// requests of several clients.
const MIN_IRREGULAR_REQUESTS: usize = 32;

/// The shortest interval that counts as polling. Shorter ones are load tests: no SDK polls more
/// than once a second unless configured to.
const MIN_INTERVAL: Duration = Duration::from_millis(500);

/// The most that equal intervals may differ, in addition to a fiftieth of the interval, because of
/// delays by timers, the network and a busy machine.
const MAX_JITTER: Duration = Duration::from_millis(100);

/// The most that a client may be late, in addition to the part of its interval that is tolerated.
const MAX_LATENESS: Duration = Duration::from_secs(1);

/// The latest requests of one user agent at one address.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// Oldest first.
    recent: VecDeque<Request>,
    pattern: Option<PollingPattern>,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    at: Instant,
    port: u16,
}

/// A number of clients that each poll once in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PollingPattern {
    clients: usize,
    period: Duration,
}

impl Requests {
    /// Records a request on the connection from this port.
    pub(super) fn add(&mut self, port: u16, now: Instant, max_interval: Duration) {
        let is_overdue = |pattern: PollingPattern| self.is_overdue(pattern.period, now);
        // After a gap, the old requests would hide the new pattern.
        if self.is_stale(now, max_interval) || self.pattern.is_some_and(is_overdue) {
            *self = Self::default();
        }
        if self.recent.len() == MAX_REQUESTS {
            self.recent.pop_front();
        }
        self.recent.push_back(Request { at: now, port });
        if let Some(pattern) = self.find_pattern(max_interval) {
            self.pattern = Some(pattern);
        }
    }

    /// The number of processes that poll. One or two requests do not count as a process yet.
    pub(super) fn clients(&self, now: Instant) -> usize {
        let pattern = self.pattern.filter(|it| !self.is_overdue(it.period, now));
        let by_pattern = pattern.map_or(0, |pattern| pattern.clients);
        by_pattern.max(self.polling_connections(now))
    }

    /// The number of clients that a rate limit is divided by for the one on this connection, which
    /// is included.
    ///
    /// While no client is known to poll, every connection counts, since each may begin to poll.
    pub(super) fn sharers(&self, port: u16, now: Instant) -> usize {
        let connections: HashSet<u16> = self.recent.iter().map(|it| it.port).collect();
        let requests = self.recent.iter().filter(|it| it.port == port).count();
        match self.clients(now) {
            0 => connections.len().max(1),
            known if requests == 1 && self.polling_connections(now) > 0 => known + 1,
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
            interval >= MIN_INTERVAL && now.saturating_duration_since(last) <= max_gap(interval)
        };
        times.values().filter(polls).count()
    }

    /// The smallest number of clients that explains the latest requests, if any does.
    fn find_pattern(&self, max_interval: Duration) -> Option<PollingPattern> {
        let times: Vec<Instant> = self.recent.iter().map(|it| it.at).collect();
        let allowed = MIN_INTERVAL..=max_interval + max_interval / 10;
        let before = self.pattern.map_or(0, |pattern| pattern.clients);
        // The smallest number first, since the sequence also repeats after multiples of the period.
        for clients in 1..=times.len() / 2 {
            // Three of many requests may be evenly spaced by chance. A smaller number of clients
            // than before needs as much evidence as the larger one did.
            let evidence = MIN_REQUESTS.max(2 * clients.max(before) + 1);
            let Some(from) = times.len().checked_sub(evidence) else {
                break;
            };
            let latest = times.get(from..).unwrap_or_default();
            let period = period(latest, clients).filter(|period| allowed.contains(period));
            if let Some(period) = period {
                return Some(PollingPattern { clients, period });
            }
        }
        self.irregular(&times)
            .filter(|it| allowed.contains(&it.period))
    }

    /// One client, if there are many requests without a regular interval.
    fn irregular(&self, times: &[Instant]) -> Option<PollingPattern> {
        let is_irregular = self.pattern.is_none() && times.len() >= MIN_IRREGULAR_REQUESTS;
        let (first, last) = (times.first()?, times.last()?);
        let intervals = u32::try_from(times.len() - 1).ok()?;
        is_irregular.then(|| PollingPattern {
            clients: 1,
            period: (*last - *first) / intervals,
        })
    }

    /// True if a client with this interval would have sent its next request by now.
    fn is_overdue(&self, interval: Duration, now: Instant) -> bool {
        self.age(now).is_none_or(|age| age > max_gap(interval))
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let last = self.recent.back()?;
        Some(now.saturating_duration_since(last.at))
    }
}

/// The longest time between two requests of a client with this interval: it may miss one, and send
/// the next half an interval late.
fn max_gap(interval: Duration) -> Duration {
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

    /// The number of clients after each request, given its time in milliseconds and its port.
    fn client_counts(requests: &[(u64, u16)]) -> Vec<usize> {
        let start = Instant::now();
        let mut all = Requests::default();
        let counts = requests.iter().map(|(millis, port)| {
            let now = start + Duration::from_millis(*millis);
            all.add(*port, now, MAX_INTERVAL);
            all.clients(now)
        });
        counts.collect()
    }

    /// The requests of clients that start at these times, in milliseconds, and poll at an interval.
    fn polls(starts: &[u64], interval: u64, times: u64, keeps_connection: bool) -> Vec<(u64, u16)> {
        let mut polls = vec![];
        for (client, start) in (0..).zip(starts) {
            for time in 0..times {
                let port = match keeps_connection {
                    true => client,
                    false => client * 100 + u16::try_from(time).unwrap_or_default(),
                };
                polls.push((start + time * interval, port));
            }
        }
        polls.sort_unstable();
        polls
    }

    #[test]
    fn few_irregular_requests_are_not_a_client() {
        assert_eq!(client_counts(&[(0, 1)]), [0]);
        assert_eq!(client_counts(&[(0, 1), (5_000, 2)]), [0, 0]);
        assert_eq!(
            client_counts(&[(0, 1), (5_000, 1), (7_000, 2), (19_000, 3)]),
            [0; 4]
        );
    }

    #[rstest]
    #[case::new_connections(false)]
    #[case::one_connection(true)]
    fn the_third_regular_request_is_a_client(#[case] keeps_connection: bool) {
        let polls = polls(&[0], 5_000, 5, keeps_connection);
        assert_eq!(client_counts(&polls), [0, 0, 1, 1, 1]);
    }

    #[rstest]
    #[case::three_apart(&[0, 1_000, 3_000])]
    #[case::three_at_once(&[0, 10, 20])]
    #[case::two(&[0, 900])]
    #[case::ten(&[0, 300, 800, 1_000, 1_050, 1_700, 2_200, 3_100, 3_900, 4_200])]
    fn distinguishes_processes_at_one_address(#[case] starts: &[u64]) {
        for keeps_connection in [false, true] {
            let polls = polls(starts, 5_000, 6, keeps_connection);
            assert_eq!(client_counts(&polls).pop(), Some(starts.len()));
        }
    }

    #[test]
    fn distinguishes_evenly_spaced_connections() {
        let starts = [0, 2_500];
        assert_eq!(
            client_counts(&polls(&starts, 5_000, 6, true)).pop(),
            Some(2)
        );
        // Not distinguishable from one process that polls twice as often.
        assert_eq!(
            client_counts(&polls(&starts, 5_000, 6, false)).pop(),
            Some(1)
        );
    }

    #[test]
    fn jitter_is_tolerated() {
        let late = [0, 40, 90, 10, 60];
        let polls: Vec<(u64, u16)> = (0..)
            .zip(late)
            .map(|(time, late)| (time * 5_000 + late, 1))
            .collect();
        assert_eq!(client_counts(&polls), [0, 0, 1, 1, 1]);
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
        let counts = client_counts(&polls.collect::<Vec<_>>());
        assert_eq!(counts.last(), Some(&1));
        assert!(counts.iter().rev().skip(1).all(|clients| *clients == 0));
    }

    #[test]
    fn a_burst_of_requests_is_not_a_client() {
        let burst: Vec<(u64, u16)> = (0..60).map(|at| (at * 10, 1)).collect();
        assert_eq!(client_counts(&burst).pop(), Some(0));
    }

    #[test]
    fn a_client_is_gone_once_it_is_overdue() {
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
    fn detects_that_one_of_three_clients_stopped() {
        let mut requests = polls(&[0, 1_000, 3_000], 5_000, 5, false);
        requests.extend(
            polls(&[25_000, 26_000], 5_000, 5, false)
                .iter()
                .map(|(at, port)| (*at, port + 1_000)),
        );
        assert_eq!(client_counts(&requests).pop(), Some(2));
    }

    #[test]
    fn a_limit_is_divided_before_clients_are_known() {
        let now = Instant::now();
        let mut all = Requests::default();
        let mut poll = |port, at| {
            all.add(port, at, MAX_INTERVAL);
            all.sharers(port, at)
        };
        assert_eq!([poll(1, now), poll(2, now), poll(3, now)], [1, 2, 3]);
        let later = now + Duration::from_secs(5);
        assert_eq!([poll(1, later), poll(2, later), poll(3, later)], [3, 3, 3]);
        let later = now + Duration::from_secs(10);
        assert_eq!([poll(1, later), poll(2, later), poll(3, later)], [3, 3, 3]);
        assert_eq!(
            poll(4, later),
            4,
            "a new client gets no more than its share"
        );
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
