//! Sends the requests.
//!
//! With a rate, every request has the moment at which it is due, and a late one counts from
//! that moment and not from when a connection was free for it: a server that stalls is charged
//! for everyone who would have come meanwhile (no coordinated omission).

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::summary::{Answer, Summary, Tally};

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// `http://HOST:PORT`.
    pub url: Uri,
    /// Path and query.
    pub path: String,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// So many a second, due at even distances.
    Rate(u32),
    /// Each connection sends the next request when it has the answer to the last.
    AsAnswered,
}

/// Why load could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No `http://HOST:PORT`.
    #[error("--url: must be like http://127.0.0.1:8080, not {0}")]
    Address(Uri),
    /// Not the path of a request.
    #[error("--path: must be like /?wait=0ms, not {path}")]
    Path {
        /// What was given.
        path: String,
        /// Why it does not do.
        source: http::Error,
    },
    /// No memory for the latencies.
    #[error("preparing the histogram of latencies: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// Nobody there.
    #[error("connecting to {address}: {source}; is it running? `spoor up` starts the lab")]
    Connect {
        /// Where to.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Load {
    /// How many requests it will come to, where that is known.
    pub fn expected_requests(&self) -> Option<u64> {
        let by_rate = match (self.pace, self.duration) {
            (Pace::Rate(rate), Some(duration)) => {
                Some(whole(f64::from(rate) * duration.as_secs_f64()))
            }
            _ => None,
        };
        match (self.requests, by_rate) {
            (Some(requests), Some(by_rate)) => Some(requests.min(by_rate)),
            (requests, by_rate) => requests.or(by_rate),
        }
    }

    fn address(&self) -> Result<String, LoadError> {
        let authority = self
            .url
            .authority()
            .filter(|_| self.url.scheme_str() == Some("http"));
        let authority = authority.ok_or_else(|| LoadError::Address(self.url.clone()))?;
        Ok(format!(
            "{}:{}",
            authority.host(),
            authority.port_u16().unwrap_or(80)
        ))
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, LoadError> {
        let host = self
            .url
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        Request::get(&self.path)
            .header(HOST, host)
            .body(Empty::new())
            .map_err(|source| LoadError::Path {
                path: self.path.clone(),
                source,
            })
    }
}

/// Sends it all, telling `progress` how many are answered, until done or stopped.
///
/// # Errors
/// [`LoadError`] before the first request; later failures are counted in the summary.
pub async fn drive(
    load: &Load,
    progress: impl Fn(u64),
    stop: CancellationToken,
) -> Result<Summary, LoadError> {
    let address = load.address()?;
    load.request()?;
    TcpStream::connect(&address)
        .await
        .map_err(|source| LoadError::Connect {
            address: address.clone(),
            source,
        })?;

    let started = Instant::now();
    let shared = Arc::new(Shared {
        load: load.clone(),
        address,
        started,
        deadline: load.duration.map(|duration| started + duration),
        tickets: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        stop,
    });
    let stop = shared.stop.clone();
    let mut tally = Tally::new()?;
    let mut connections = JoinSet::new();
    for _ in 0..load.connections.get() {
        connections.spawn(connection(Arc::clone(&shared), tally.clone()));
    }
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = tick.tick() => progress(shared.answered.load(Ordering::Relaxed)),
            done = connections.join_next() => match done {
                Some(Ok(one)) => tally.add(&one),
                Some(Err(_)) => tally.count(Answer::Broken, Duration::ZERO),
                None => break,
            },
        }
    }
    let mut summary = tally.summary(load.pace, started.elapsed());
    if let (Pace::Rate(_), Some(due), false) =
        (load.pace, load.expected_requests(), stop.is_cancelled())
    {
        summary.unsent = due.saturating_sub(summary.requests);
    }
    Ok(summary)
}

struct Shared {
    load: Load,
    address: String,
    started: Instant,
    deadline: Option<Instant>,
    tickets: AtomicU64,
    answered: AtomicU64,
    stop: CancellationToken,
}

impl Shared {
    /// Waits until the next request is due and says from when its latency counts; none when
    /// there is no next.
    async fn next(&self) -> Option<Instant> {
        if self.stop.is_cancelled() {
            return None;
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        if self
            .load
            .requests
            .is_some_and(|requests| ticket >= requests)
        {
            return None;
        }
        let now = Instant::now();
        let due = match self.load.pace {
            Pace::AsAnswered => now,
            Pace::Rate(rate) => self.started + Duration::from_secs(ticket) / rate,
        };
        if self
            .deadline
            .is_some_and(|deadline| due.max(now) >= deadline)
        {
            return None;
        }
        if due <= now {
            return Some(due);
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => Some(Instant::now()),
            () = self.stop.cancelled() => None,
        }
    }
}

/// One connection's share of the work.
async fn connection(shared: Arc<Shared>, mut tally: Tally) -> Tally {
    let mut open = None;
    while let Some(from) = shared.next().await {
        let exchange = exchange(&shared, &mut open);
        let answer = match tokio::time::timeout(shared.load.timeout, exchange).await {
            Ok(Some(status)) => Answer::Status(status),
            Ok(None) => Answer::Broken,
            Err(_) => Answer::TimedOut,
        };
        if !matches!(answer, Answer::Status(_)) {
            open = None;
        }
        tally.count(answer, from.elapsed());
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
    tally
}

/// One request and its whole answer, over the open connection or a new one.
async fn exchange(
    shared: &Shared,
    open: &mut Option<SendRequest<Empty<Bytes>>>,
) -> Option<http::StatusCode> {
    let mut sender = match open.take() {
        Some(sender) if !sender.is_closed() => sender,
        _ => connect(&shared.address).await?,
    };
    sender.ready().await.ok()?;
    let response = sender
        .send_request(shared.load.request().ok()?)
        .await
        .ok()?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.ok()?;
    }
    *open = Some(sender);
    Some(status)
}

async fn connect(address: &str) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and not negative"
)]
fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}
