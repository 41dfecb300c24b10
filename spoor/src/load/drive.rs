//! Sends the requests.
//!
//! In an open loop every request has the moment at which it is due, and a late one counts from
//! that moment and not from when a connection was free for it: a server that stalls is charged
//! for everyone who would have come meanwhile (no coordinated omission).

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    LoadError, Operation,
    connection::Connections,
    recorder::{self, Recorder},
    schedule::{Due, Schedule},
    summary::{Kept, Summary},
    tally::{Answer, Outcome},
};

/// The timer's own lateness, which is not the server's.
const TIMER: Duration = Duration::from_millis(2);
/// A request sent this long after it was due is late.
const MAX_DELAY: Duration = Duration::from_millis(100);

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is sent, in turn.
    pub operations: Vec<Operation>,
    /// When to send.
    pub pace: Pace,
    /// How many to send at most.
    pub requests: Option<u64>,
    /// How long to send at most.
    pub duration: Option<Duration>,
    /// How many connections, each with one request at a time.
    pub connections: NonZeroUsize,
    /// How long to wait for one answer.
    pub timeout: Duration,
}

/// When requests are sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Pace {
    /// When each is due.
    Open(Schedule),
    /// Each connection sends the next request when it has the answer to the last.
    Closed,
}

impl Load {
    /// So many `GET`s of one path, as fast as they are answered.
    pub fn as_answered(
        url: Uri,
        path: &str,
        requests: u64,
        connections: usize,
        timeout: Duration,
    ) -> Self {
        Self {
            operations: vec![Operation::get(format!("GET {path}"), url, path)],
            pace: Pace::Closed,
            requests: Some(requests),
            duration: None,
            connections: NonZeroUsize::new(connections).unwrap_or(NonZeroUsize::MIN),
            timeout,
        }
    }

    /// How many turns it will come to, where that is known.
    pub fn expected_requests(&self) -> Option<u64> {
        let due = match &self.pace {
            Pace::Open(schedule) => Some(schedule.requests()),
            Pace::Closed => None,
        };
        match (self.requests, due) {
            (Some(requests), Some(due)) => Some(requests.min(due)),
            (requests, due) => requests.or(due),
        }
    }

    fn phases(&self) -> usize {
        match &self.pace {
            Pace::Open(schedule) => schedule.phases().len(),
            Pace::Closed => 1,
        }
    }

    /// Everything that is only found wrong by trying, before the first request.
    async fn check(&self) -> Result<(), LoadError> {
        let mut addresses = BTreeSet::new();
        for operation in &self.operations {
            operation.request(0)?;
            addresses.insert(operation.address()?);
        }
        for address in addresses {
            TcpStream::connect(&address)
                .await
                .map_err(|source| LoadError::Connect { address, source })?;
        }
        Ok(())
    }
}

/// Sends it all, telling `progress` how many turns are over, until done or stopped.
///
/// # Errors
/// [`LoadError`] before the first request; later failures are counted in the summary.
pub async fn drive(
    load: &Load,
    progress: impl Fn(u64),
    stop: CancellationToken,
) -> Result<Summary, LoadError> {
    load.check().await?;
    let started = Instant::now();
    let names = load.operations.iter().flat_map(|operation| {
        let follow_ups = operation.follow_ups.iter().map(|it| &it.name);
        std::iter::once(&operation.name).chain(follow_ups)
    });
    let shared = Arc::new(Shared {
        recorder: Recorder::new(load.phases(), names)?,
        load: load.clone(),
        started,
        turns: AtomicU64::new(0),
        over: AtomicU64::new(0),
        late: AtomicU64::new(0),
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..load.connections.get() {
        connections.spawn(send(Arc::clone(&shared)));
    }
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = tick.tick() => progress(shared.over.load(Ordering::Relaxed)),
            done = connections.join_next() => match done {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(LoadError::Connection(error)),
                None => break,
            },
        }
    }
    let elapsed = started.elapsed();
    let over = shared.over.load(Ordering::Relaxed);
    let unsent = match (&load.pace, load.expected_requests()) {
        (Pace::Open(_), Some(due)) if !stop.is_cancelled() => due.saturating_sub(over),
        _ => 0,
    };
    let late = shared.late.load(Ordering::Relaxed);
    let shared = Arc::into_inner(shared).ok_or(LoadError::Unfinished)?;
    let recorded = shared.recorder.into_recorded();
    Ok(Summary::new(
        load,
        &recorded,
        elapsed,
        Kept { unsent, late },
    ))
}

struct Shared {
    load: Load,
    started: Instant,
    recorder: Recorder,
    turns: AtomicU64,
    over: AtomicU64,
    late: AtomicU64,
    stop: CancellationToken,
}

/// One request to send, and from when its latency counts.
struct Turn {
    number: u64,
    phase: usize,
    from: Instant,
}

impl Shared {
    /// Waits until the next request is due; none when there is no next.
    async fn next(&self) -> Option<Turn> {
        if self.stop.is_cancelled() {
            return None;
        }
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        if self
            .load
            .requests
            .is_some_and(|requests| number >= requests)
        {
            return None;
        }
        let now = Instant::now();
        let (due, phase) = match &self.load.pace {
            Pace::Closed => (now, 0),
            Pace::Open(schedule) => {
                let Due { after, phase } = schedule.due(number)?;
                (self.started + after, phase)
            }
        };
        let deadline = self.load.duration.map(|duration| self.started + duration);
        if deadline.is_some_and(|deadline| due.max(now) >= deadline) {
            return None;
        }
        let from = if due <= now {
            due
        } else {
            tokio::select! {
                () = tokio::time::sleep_until(due) => counts_from(due, Instant::now()),
                () = self.stop.cancelled() => return None,
            }
        };
        if due.elapsed() > MAX_DELAY {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        Some(Turn {
            number,
            phase,
            from,
        })
    }

    fn operation(&self, turn: &Turn) -> Option<(&Operation, u64)> {
        let count = u64::try_from(self.load.operations.len()).ok()?;
        let position = usize::try_from(turn.number.checked_rem(count)?).ok()?;
        let operation = self.load.operations.get(position)?;
        Some((operation, turn.number / count))
    }

    /// Sends a request, notes how it ended, and returns where that is which it made.
    async fn exchange(
        &self,
        connections: &mut Connections,
        address: &str,
        request: Request<Full<Bytes>>,
        noted: recorder::Request<'_>,
    ) -> Option<String> {
        let from = self.started + noted.due;
        let exchange = connections.exchange(address, request);
        let (answer, answered) = match tokio::time::timeout(self.load.timeout, exchange).await {
            Ok(Ok(answered)) => (Answer::Status(answered.status), Some(answered)),
            Ok(Err(failed)) => (failed, None),
            Err(_) => (Answer::TimedOut, None),
        };
        let (location, trace) = answered.map_or((None, None), |it| (it.location, it.trace));
        let outcome = Outcome {
            answer,
            latency: from.elapsed(),
            trace,
        };
        self.recorder.note(noted, &outcome);
        location.filter(|_| answer.is_success())
    }
}

/// One connection's share of the work.
async fn send(shared: Arc<Shared>) {
    let mut connections = Connections::default();
    while let Some(turn) = shared.next().await {
        take(&shared, &mut connections, &turn).await;
        shared.over.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request and those that follow it.
async fn take(shared: &Shared, connections: &mut Connections, turn: &Turn) -> Option<()> {
    let (operation, round) = shared.operation(turn)?;
    // What can't be built was refused before the first request.
    let (address, request) = (operation.address().ok()?, operation.request(round).ok()?);
    let noted = recorder::Request {
        operation: &operation.name,
        phase: turn.phase,
        due: turn.from - shared.started,
    };
    let made = shared
        .exchange(connections, &address, request, noted)
        .await?;
    for follow_up in &operation.follow_ups {
        let request = operation.request_after(follow_up, &made).ok()?;
        let noted = recorder::Request {
            operation: &follow_up.name,
            phase: turn.phase,
            due: shared.started.elapsed(),
        };
        shared.exchange(connections, &address, request, noted).await;
    }
    Some(())
}

/// From when a request counts that was waited for.
fn counts_from(due: Instant, woken: Instant) -> Instant {
    if woken - due <= TIMER { woken } else { due }
}
