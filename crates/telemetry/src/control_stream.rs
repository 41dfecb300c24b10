//! The client of the control plane's stream.
//!
//! Receives plans and faults, acknowledges or refuses at once, and reports counts. It never fails:
//! while the connection is lost the last plan stays in force, its phases end on time, and it tries
//! again until it is stopped.

mod config;
mod session;

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::sampler::Live;

pub use crate::credentials::{Credentials, CredentialsError};
pub use config::{ControlStream, Intervals};
use session::{Ended, Lost, Memory};

/// Keeps the stream open until it is stopped; then sends a final report.
pub async fn run(stream: ControlStream, shutdown: CancellationToken) {
    tokio::select! {
        () = keep_connected(&stream, &shutdown) => {}
        // Beside the stream and not in it, since phases end while it is cut off, too.
        () = end_phases(&stream.live) => {}
    }
}

async fn keep_connected(stream: &ControlStream, shutdown: &CancellationToken) {
    let mut memory = Memory::new();
    let mut obstacle = None;
    loop {
        let error = match session::run(stream, shutdown, &mut memory).await {
            Ended::ShutDown => return,
            Ended::Lost { error, was_open } => {
                // After a connection the same obstacle is a new outage, and logged again.
                if was_open {
                    obstacle = None;
                }
                error
            }
        };
        let newly = Obstacle::of(&error);
        if obstacle.as_ref() != Some(&newly) {
            newly.log(&error);
        }
        // A denial lasts until somebody changes a label or a token, so asking often is of no use.
        let max = match newly {
            Obstacle::Denied(_) => stream.intervals.denied,
            Obstacle::Credentials(_) | Obstacle::Unreachable => stream.intervals.retry,
        };
        obstacle = Some(newly);
        let stopped = shutdown
            .run_until_cancelled(tokio::time::sleep(memory.backoff.next_delay(max)))
            .await;
        if stopped.is_none() {
            return;
        }
    }
}

/// An obstacle between the process and the control plane; logged once, and again if it changes.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    Unreachable,
    Credentials(String),
    Denied(String),
}

impl Obstacle {
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
    const MAX_WAIT: Duration = Duration::from_millis(250);
    loop {
        let now = Timestamp::now();
        let wait = live.next_end(now).map_or(MAX_WAIT, |end| {
            Duration::try_from(end.duration_since(now))
                .unwrap_or_default()
                .min(MAX_WAIT)
        });
        tokio::time::sleep(wait).await;
        live.advance(Timestamp::now());
    }
}
