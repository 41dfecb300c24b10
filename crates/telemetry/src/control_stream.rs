//! The client of the control plane's stream.
//!
//! Takes plans and faults, acknowledges or refuses at once, and reports what was counted. It
//! never fails: cut off, the last plan stays in force, its phases go on ending by themselves,
//! and it tries again until it is stopped.

mod credentials;
mod session;

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use spoor_policy::ServiceName;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{batch::SpanCounts, faults::Faults, sampler::Live};

pub use credentials::{Credentials, CredentialsError};
use session::{Ended, Lost, Memory};

/// What the stream needs to know and what it writes to.
#[derive(Clone)]
pub struct ControlStream {
    /// Where the control plane listens, such as `http://127.0.0.1:5779`.
    pub endpoint: Endpoint,
    /// What secures the stream.
    pub credentials: Credentials,
    /// Whose plan to ask for.
    pub service: ServiceName,
    /// OpenTelemetry's `service.instance.id`.
    pub instance: String,
    /// This start of the process, which the instance may outlive.
    pub start: String,
    /// Takes the plans.
    pub live: Arc<Live>,
    /// Takes the faults.
    pub faults: Arc<Faults>,
    /// What the exporter has counted.
    pub spans: Arc<SpanCounts>,
    /// How often and how long.
    pub pace: Pace,
}

/// The stream's intervals and deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two reports when something has changed, at least.
    pub report: Duration,
    /// Between two reports, at most.
    pub alive: Duration,
    /// For connecting, and for each message to be taken.
    pub deadline: Duration,
    /// For the final report on shutdown.
    pub farewell: Duration,
    /// Between two attempts to connect, at most.
    pub retry: Duration,
    /// The same while the control plane denies this process its plan.
    pub denied: Duration,
    /// Between two HTTP/2 pings; a peer that leaves one unanswered as long is gone.
    pub keep_alive: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            report: Duration::from_millis(500),
            alive: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            farewell: Duration::from_secs(1),
            retry: Duration::from_millis(800),
            denied: Duration::from_secs(10),
            keep_alive: Duration::from_secs(5),
        }
    }
}

/// Keeps the stream open until it is stopped; then sends a final report.
pub async fn run(stream: ControlStream, shutdown: CancellationToken) {
    tokio::select! {
        () = keep_connected(&stream, &shutdown) => {}
        () = end_phases(&stream.live) => {}
    }
}

async fn keep_connected(stream: &ControlStream, shutdown: &CancellationToken) {
    let mut memory = Memory::new();
    let mut trouble = None;
    loop {
        let error = match session::run(stream, shutdown, &mut memory).await {
            Ended::ShutDown => return,
            Ended::Lost { error, was_open } => {
                if was_open {
                    trouble = None;
                }
                error
            }
        };
        let newly = Trouble::of(&error);
        if trouble.as_ref() != Some(&newly) {
            newly.log(&error);
        }
        let longest = match newly {
            Trouble::Denied(_) => stream.pace.denied,
            Trouble::Credentials(_) | Trouble::Unreachable => stream.pace.retry,
        };
        trouble = Some(newly);
        let stopped = shutdown
            .run_until_cancelled(tokio::time::sleep(memory.backoff.next(longest)))
            .await;
        if stopped.is_none() {
            return;
        }
    }
}

/// What keeps it from the control plane; said once, and again when it is something else.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Unreachable,
    Credentials(String),
    Denied(String),
}

impl Trouble {
    fn of(error: &Lost) -> Self {
        match error {
            Lost::Denied(_) => Self::Denied(error.to_string()),
            Lost::Credentials(error) => Self::Credentials(error.to_string()),
            _ => Self::Unreachable,
        }
    }

    fn log(&self, error: &Lost) {
        let error = error as &dyn std::error::Error;
        match self {
            Self::Unreachable => {
                tracing::warn!(error, "control plane lost; the last plan stays in force");
            }
            Self::Credentials(_) => {
                tracing::warn!(
                    error,
                    "control plane not asked; the last plan stays in force"
                );
            }
            Self::Denied(_) => tracing::warn!(
                error,
                "the control plane denies this service its plan; the last one stays in force"
            ),
        }
    }
}

/// Moves the plan on to its next phase when one ends. Never returns.
async fn end_phases(live: &Live) {
    // Short, since a wall clock may jump and a new plan may end sooner.
    const LONGEST: Duration = Duration::from_millis(250);
    loop {
        let now = Timestamp::now();
        let wait = live.next_end(now).map_or(LONGEST, |end| {
            Duration::try_from(end.duration_since(now))
                .unwrap_or_default()
                .min(LONGEST)
        });
        tokio::time::sleep(wait).await;
        live.advance(Timestamp::now());
    }
}

impl fmt::Debug for ControlStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlStream")
            .field("endpoint", self.endpoint.uri())
            .field("service", &self.service)
            .field("instance", &self.instance)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
