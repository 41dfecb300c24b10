//! Sending of the requests.
//!
//! In an open loop, each request has a time at which it is due, and its latency counts from then
//! and not from when a connection became free for it. A server that stalls is charged for every
//! request that was due meanwhile, which avoids coordinated omission.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Connections,
    error::LoadError,
    load::{Load, Pace},
    operation::Operation,
    recorder::{self, Recorder},
    schedule::Due,
    summary::{Punctuality, Summary},
    tally::{Outcome, RequestResult},
};

/// The tolerated lateness of the timer, which must not count as the server's latency. Tokio's
/// timer has a resolution of 1 ms.
const MAX_TIMER_LAG: Duration = Duration::from_millis(2);
/// A request sent later than this after it was due counts as late.
const MAX_SEND_LAG: Duration = Duration::from_millis(100);

/// Sends the load until it is done or stopped, and reports the number of finished turns to
/// `progress`.
///
/// # Errors
/// [`LoadError`] before the first request. Later failures are counted in the summary.
pub async fn drive(
    load: &Load,
    progress: impl Fn(u64),
    stop: CancellationToken,
) -> Result<Summary, LoadError> {
    // A wrong address is one error now, instead of a failure for each request.
    check(load).await?;
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
        finished: AtomicU64::new(0),
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
            _ = tick.tick() => progress(shared.finished.load(Ordering::Relaxed)),
            done = connections.join_next() => match done {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(LoadError::JoinConnection(error)),
                None => break,
            },
        }
    }
    let elapsed = started.elapsed();
    let finished = shared.finished.load(Ordering::Relaxed);
    let unsent = match (&load.pace, load.expected_requests()) {
        // A load that was stopped left the rest out on purpose.
        (Pace::Open(_), Some(due)) if !stop.is_cancelled() => due.saturating_sub(finished),
        _ => 0,
    };
    let late = shared.late.load(Ordering::Relaxed);
    // All tasks have ended, so that this is the last reference.
    let shared = Arc::into_inner(shared).ok_or(LoadError::CollectResults)?;
    let recorded = shared.recorder.into_recorded();
    Ok(Summary::new(
        load,
        &recorded,
        elapsed,
        Punctuality { unsent, late },
    ))
}

/// Checks, before the first request, that every request can be built and every address
/// accepts connections.
async fn check(load: &Load) -> Result<(), LoadError> {
    let mut addresses = BTreeSet::new();
    for operation in &load.operations {
        operation.request(0)?;
        addresses.insert(operation.url.address());
    }
    for address in addresses {
        TcpStream::connect(&address)
            .await
            .map_err(|source| LoadError::Connect { address, source })?;
    }
    Ok(())
}

struct Shared {
    load: Load,
    started: Instant,
    recorder: Recorder,
    turns: AtomicU64,
    finished: AtomicU64,
    late: AtomicU64,
    stop: CancellationToken,
}

/// One request to send, and the time from which its latency counts.
struct Turn {
    number: u64,
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
        // A load that lags behind also ends in time, whatever is still due.
        if deadline.is_some_and(|deadline| due.max(now) >= deadline) {
            return None;
        }
        let from = if due <= now {
            due
        } else {
            tokio::select! {
                () = tokio::time::sleep_until(due) => latency_start(due, Instant::now()),
                () = self.stop.cancelled() => return None,
            }
        };
        if due.elapsed() > MAX_SEND_LAG {
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

    /// Sends a request, records its outcome, and returns the location of what it created.
    async fn exchange(
        &self,
        connections: &mut Connections,
        address: &str,
        request: Request<Full<Bytes>>,
        recorded: recorder::Request<'_>,
    ) -> Option<String> {
        let from = self.started + recorded.due;
        let exchange = connections.exchange(address, request);
        let (result, response) = match tokio::time::timeout(self.load.timeout, exchange).await {
            Ok(Ok(response)) => (RequestResult::Status(response.status), Some(response)),
            Ok(Err(failed)) => (failed, None),
            Err(_) => (RequestResult::TimedOut, None),
        };
        let (location, trace) = response.map_or((None, None), |it| (it.location, it.trace));
        let outcome = Outcome {
            result,
            latency: from.elapsed(),
            trace,
        };
        self.recorder.record(recorded, &outcome);
        // A request that failed created nothing to follow up.
        location.filter(|_| result.is_success())
    }
}

/// Sends requests over one connection until there are no more.
async fn send(shared: Arc<Shared>) {
    let mut connections = Connections::default();
    while let Some(turn) = shared.next().await {
        take_turn(&shared, &mut connections, &turn).await;
        shared.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends a request and its follow-ups.
async fn take_turn(shared: &Shared, connections: &mut Connections, turn: &Turn) -> Option<()> {
    let (operation, round) = shared.operation(turn)?;
    // `check` has built every request once.
    let (address, request) = (operation.url.address(), operation.request(round).ok()?);
    let recorded = recorder::Request {
        operation: &operation.name,
        phase: turn.phase,
        due: turn.from - shared.started,
    };
    let created = shared
        .exchange(connections, &address, request, recorded)
        .await?;
    for follow_up in &operation.follow_ups {
        // A follow-up is due when the response before it has arrived, not by the schedule.
        let request = operation.request_after(follow_up, &created).ok()?;
        let recorded = recorder::Request {
            operation: &follow_up.name,
            phase: turn.phase,
            due: shared.started.elapsed(),
        };
        shared
            .exchange(connections, &address, request, recorded)
            .await;
    }
    Some(())
}

/// The time from which the latency of a request counts whose sender slept until it was due.
fn latency_start(due: Instant, woken: Instant) -> Instant {
    if woken - due <= MAX_TIMER_LAG {
        woken
    } else {
        due
    }
}
