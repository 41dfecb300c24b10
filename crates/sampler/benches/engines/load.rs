//! Sends requests over a few connections, as fast as they are acknowledged.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use opentelemetry_sdk::Resource;
use parking_lot::Mutex;
use spoor_telemetry::{
    TelemetrySettings,
    export::{self, Export, Failure},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::request::Requests;

/// The connections, as from a few Collectors or services.
const CONNECTIONS: usize = 4;
/// The requests in progress on each connection. The sampler accepts them one after another.
const REQUESTS_PER_CONNECTION: usize = 4;
/// The delay before a refused request is sent again.
const RETRY_DELAY: Duration = Duration::from_millis(20);
/// The time after which a program that does not accept a request is considered to have failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// The end of the load. The traces that have begun are completed.
#[derive(Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Requests(u64),
}

/// The load that was sent.
pub struct Sent {
    pub requests: u64,
    /// The attempts that were refused, and repeated.
    pub refused: u64,
    pub time: Duration,
    /// Kept open, since the sampler postpones its decisions once the last one has ended.
    _connections: Vec<Arc<dyn Export>>,
}

struct Load {
    requests: Arc<Requests>,
    until: Until,
    start: Instant,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// The number of the next request.
    next: u64,
    /// The number after the last request, once it is known.
    end: Option<u64>,
    refused: u64,
}

/// Sends requests, and returns once all are acknowledged.
pub async fn send(to: SocketAddr, requests: &Arc<Requests>, until: Until) -> Sent {
    let load = Arc::new(Load {
        requests: Arc::clone(requests),
        until,
        start: Instant::now(),
        progress: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(to)).collect();
    for connection in &connections {
        for _ in 0..REQUESTS_PER_CONNECTION {
            tasks.spawn(Arc::clone(&load).send_over(Arc::clone(connection)));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let time = load.start.elapsed();
    let progress = load.progress.lock();
    Sent {
        requests: progress.next,
        refused: progress.refused,
        time,
        _connections: connections,
    }
}

/// A client with a connection of its own.
fn connect(to: SocketAddr) -> Arc<dyn Export> {
    let endpoint = format!("http://{to}");
    let settings = TelemetrySettings::read(|name| {
        (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| endpoint.clone())
    });
    let settings = settings.unwrap().otlp.unwrap();
    export::otlp(&settings, &Resource::builder_empty().build()).unwrap()
}

impl Load {
    async fn send_over(self: Arc<Self>, connection: Arc<dyn Export>) {
        while let Some(number) = self.next_number() {
            self.send(number, &*connection).await;
        }
    }

    /// The number of the next request; `None` at the end, when all traces are complete.
    fn next_number(&self) -> Option<u64> {
        let mut progress = self.progress.lock();
        let is_over = match self.until {
            Until::Elapsed(time) => self.start.elapsed() >= time,
            Until::Requests(count) => progress.next >= count,
        };
        if is_over && progress.end.is_none() {
            let group = self.requests.requests_in_group();
            progress.end = Some(progress.next.next_multiple_of(group));
        }
        if progress.end == Some(progress.next) {
            return None;
        }
        progress.next += 1;
        Some(progress.next - 1)
    }

    /// Sends a request until it is accepted.
    async fn send(&self, number: u64, connection: &dyn Export) {
        let request = connection.prepare(self.requests.encode(number).into());
        let start = Instant::now();
        loop {
            match connection.send(request.clone()).await {
                Ok(accepted) => {
                    assert_eq!(accepted.rejected, 0, "{}", accepted.message);
                    return;
                }
                Err(Failure::Retry { reason, .. }) => {
                    assert!(start.elapsed() < DEADLINE, "{reason}");
                    self.progress.lock().refused += 1;
                }
                Err(failure) => panic!("{failure:?}"),
            }
            // Not the delay that the receiver requests, which is a second for the sampler: the load
            // would be over before the next attempt.
            sleep(RETRY_DELAY).await;
        }
    }
}
