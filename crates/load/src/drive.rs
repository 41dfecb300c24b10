//! Sends the requests of a load.
//!
//! In an open loop, each request has a time at which it is due, and its latency counts from then
//! and not from when a connection became free for it. A server that stalls is charged for every
//! request that was due meanwhile, which avoids coordinated omission.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    base_url::BaseUrl,
    connection::Connections,
    error::DriveError,
    load::Load,
    recorder::Recorded,
    request_stats::{Outcome, RequestResult},
    summary::{LoadSummary, Punctuality},
};

/// The tolerated lateness of the timer, which must not count as the server's latency. Tokio's
/// timer has a resolution of 1 ms.
const MAX_TIMER_LAG: Duration = Duration::from_millis(2);
/// A request sent later than this after it was due counts as late.
const MAX_SEND_LAG: Duration = Duration::from_millis(100);

/// Sends the load until it is done or stopped, and reports the number of finished requests
/// to `progress`.
///
/// # Errors
/// [`DriveError`] before the first request, or if the task of a connection fails. Failures of
/// requests are counted in the summary.
pub async fn drive(
    load: &Load,
    progress: impl Fn(u64),
    stop: CancellationToken,
) -> Result<LoadSummary, DriveError> {
    // A wrong address is one error now, instead of a failure for each request.
    check(load).await?;
    let started = Instant::now();
    let names = load.operations.iter().flat_map(|operation| {
        let follow_ups = operation.follow_ups.iter().map(|it| &it.name);
        std::iter::once(&operation.name).chain(follow_ups)
    });
    let shared = Arc::new(Shared {
        recorded: Mutex::new(Recorded::new(load.phase_count(), names)?),
        load: load.clone(),
        started,
        turns: AtomicU64::new(0),
        chosen: AtomicU64::new(0),
        pending: Mutex::default(),
        finished: AtomicU64::new(0),
        late: AtomicU64::new(0),
        stop: stop.clone(),
    });
    let mut connections = JoinSet::new();
    for _ in 0..load.connections.get() {
        connections.spawn(send_all(Arc::clone(&shared)));
    }
    let report = || progress(shared.finished.load(Ordering::Relaxed));
    join(&mut connections, report).await?;
    // Only after all turns: a connection that has no other turn would otherwise send follow-ups
    // before requests that are still due. Usually no follow-ups are left.
    let pending = shared.pending.lock().len();
    for _ in 0..pending {
        connections.spawn(send_pending(Arc::clone(&shared)));
    }
    join(&mut connections, report).await?;
    let elapsed = started.elapsed();
    let finished = shared.finished.load(Ordering::Relaxed);
    let unsent = match (&load.schedule, load.expected_requests()) {
        // A load that was stopped leaves requests unsent on purpose.
        (Some(_), Some(due)) if !stop.is_cancelled() => due.saturating_sub(finished),
        _ => 0,
    };
    let late = shared.late.load(Ordering::Relaxed);
    // All tasks have ended, so this is the last reference.
    let shared = Arc::into_inner(shared).ok_or(DriveError::CollectResults)?;
    let recorded = shared.recorded.into_inner();
    let punctuality = Punctuality { unsent, late };
    Ok(LoadSummary::new(load, &recorded, elapsed, punctuality))
}

/// Waits until all tasks have ended, and calls `report` while it waits.
async fn join(tasks: &mut JoinSet<()>, report: impl Fn()) -> Result<(), DriveError> {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = tick.tick() => report(),
            done = tasks.join_next() => match done {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(DriveError::JoinConnection(error)),
                None => return Ok(()),
            },
        }
    }
}

/// Checks, before the first request, that every request can be built and every address
/// accepts connections.
async fn check(load: &Load) -> Result<(), DriveError> {
    let mut addresses = BTreeSet::new();
    for operation in &load.operations {
        operation.request(0)?;
        addresses.insert(operation.url.address());
    }
    for address in addresses {
        let connecting = TcpStream::connect(&address);
        tokio::time::timeout(load.timeout, connecting)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|source| DriveError::Connect { address, source })?;
    }
    Ok(())
}

struct Shared {
    load: Load,
    started: Instant,
    /// Under one lock, so that the rows of a summary add up.
    recorded: Mutex<Recorded>,
    /// The number of turns that have begun to wait until they are due.
    turns: AtomicU64,
    /// The number of operations that were chosen or skipped.
    chosen: AtomicU64,
    /// The follow-ups to send. There are never more of them than connections, since a turn sends
    /// one of them before it begins another operation.
    pending: Mutex<VecDeque<Pending>>,
    finished: AtomicU64,
    late: AtomicU64,
    stop: CancellationToken,
}

/// The follow-ups to a resource that an operation created.
struct Pending {
    /// The operation's position.
    operation: usize,
    /// The number of its follow-ups that were sent.
    sent: usize,
    /// The location of the resource.
    created: String,
}

/// One request to send, and the time from which its latency counts.
struct Turn {
    /// The number of turns after this one.
    left: u64,
    phase: usize,
    from: Instant,
}

impl Shared {
    /// Waits until the next request is due. `None` after the last.
    async fn next(&self) -> Option<Turn> {
        if self.stop.is_cancelled() {
            return None;
        }
        // Relaxed suffices: the number is unique, and no other memory depends on it.
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        let max = self.load.requests;
        if max.is_some_and(|max| number >= max) {
            return None;
        }
        let now = Instant::now();
        let (due, phase) = match &self.load.schedule {
            None => (now, 0),
            Some(schedule) => {
                let (after, phase) = schedule.due(number)?;
                (self.started + after, phase)
            }
        };
        let deadline = self.load.duration.map(|duration| self.started + duration);
        // A load that lags behind also ends on time, even if requests are still due.
        if deadline.is_some_and(|deadline| due.max(now) >= deadline) {
            return None;
        }
        let mut from = due;
        if due > now {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.stop.cancelled() => return None,
            }
            let woken = Instant::now();
            if woken - due <= MAX_TIMER_LAG {
                from = woken;
            }
        }
        if due.elapsed() > MAX_SEND_LAG {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        let left = self.load.expected_requests().map_or(u64::MAX, |turns| {
            turns.saturating_sub(number.saturating_add(1))
        });
        Some(Turn { left, phase, from })
    }

    /// The position of the next operation, and the number of complete rounds over all operations.
    fn next_operation(&self, turn: &Turn) -> Option<(usize, u64)> {
        let operations = &self.load.operations;
        let count = operations.len() as u64;
        let mut chosen = None;
        for _ in 0..count {
            let number = self.chosen.fetch_add(1, Ordering::Relaxed);
            let position = usize::try_from(number.checked_rem(count)?).ok()?;
            chosen = Some((position, number / count));
            // Towards the end, operations are skipped if too few turns are left for their
            // follow-ups, so that the load has as many requests as turns.
            if operations.get(position)?.follow_ups.len() as u64 <= turn.left {
                break;
            }
        }
        chosen
    }

    /// Adds the rest of an operation's follow-ups, if there are any.
    fn add_pending(&self, pending: Pending) {
        let operation = self.load.operations.get(pending.operation);
        if operation.is_some_and(|operation| pending.sent < operation.follow_ups.len()) {
            self.pending.lock().push_back(pending);
        }
    }

    /// Sends a request, records its outcome under a name, and returns the location of the resource
    /// that it created.
    async fn exchange(
        &self,
        connections: &mut Connections,
        url: &BaseUrl,
        request: Request<Full<Bytes>>,
        name: &str,
        turn: &Turn,
    ) -> Option<String> {
        let address = url.address();
        let exchange = connections.exchange(&address, request);
        let (result, response) = match tokio::time::timeout(self.load.timeout, exchange).await {
            Ok(Ok(response)) => (RequestResult::Status(response.status), Some(response)),
            Ok(Err(failed)) => (failed, None),
            Err(_) => (RequestResult::TimedOut, None),
        };
        let (location, trace) = response.map_or((None, None), |it| (it.location, it.trace));
        let outcome = Outcome {
            result,
            latency: turn.from.elapsed(),
            trace,
        };
        let due = turn.from - self.started;
        self.recorded.lock().record(name, turn.phase, due, &outcome);
        // A request that failed created nothing to follow up.
        location.filter(|_| result.is_success())
    }
}

/// Sends requests, one at a time, until there are no more.
async fn send_all(shared: Arc<Shared>) {
    let mut connections = Connections::default();
    while let Some(turn) = shared.next().await {
        let pending = shared.pending.lock().pop_front();
        match pending {
            Some(pending) => send_follow_up(&shared, &mut connections, pending, &turn).await,
            None => send_operation(&shared, &mut connections, &turn).await,
        };
        shared.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends the follow-ups that late responses have left without a turn, since they delete the resources
/// that the load created.
async fn send_pending(shared: Arc<Shared>) {
    let mut connections = Connections::default();
    loop {
        let Some(pending) = shared.pending.lock().pop_front() else {
            return;
        };
        let turn = Turn {
            left: 0,
            phase: shared.load.phase_count().saturating_sub(1),
            from: Instant::now(),
        };
        send_follow_up(&shared, &mut connections, pending, &turn).await;
    }
}

/// Sends the request of the next operation.
async fn send_operation(shared: &Shared, connections: &mut Connections, turn: &Turn) -> Option<()> {
    let (position, round) = shared.next_operation(turn)?;
    let operation = shared.load.operations.get(position)?;
    // `check` has built every request once.
    let request = operation.request(round).ok()?;
    let created = shared
        .exchange(connections, &operation.url, request, &operation.name, turn)
        .await?;
    shared.add_pending(Pending {
        operation: position,
        sent: 0,
        created,
    });
    Some(())
}

/// Sends a follow-up, which takes a turn of its own so that the rate is that of all requests.
async fn send_follow_up(
    shared: &Shared,
    connections: &mut Connections,
    pending: Pending,
    turn: &Turn,
) -> Option<()> {
    let operation = shared.load.operations.get(pending.operation)?;
    let follow_up = operation.follow_ups.get(pending.sent)?;
    let path = format!("{}{}", pending.created, follow_up.suffix);
    let request = operation.build(&follow_up.method, &path, None).ok()?;
    shared
        .exchange(connections, &operation.url, request, &follow_up.name, turn)
        .await;
    shared.add_pending(Pending {
        sent: pending.sent + 1,
        ..pending
    });
    Some(())
}
