//! The client of the control plane's stream.
//!
//! Receives plans, shares of rate limits and faults, acknowledges or refuses plans, and reports
//! counts. It never fails: while there is no connection, the last plan stays in force, its phases
//! end on time, and the client reconnects until it is stopped.

mod config;
mod session;

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::sampler::Live;

pub use crate::credentials::{Credentials, CredentialsError};
pub use config::{ControlStream, Intervals};
use session::{ReconnectState, SessionError};

/// Keeps the stream open until `shutdown`, and then sends a final report.
pub async fn run(stream: ControlStream, shutdown: CancellationToken) {
    tokio::select! {
        () = keep_connected(&stream, &shutdown) => {}
        // Separate from the stream, since phases also end without a connection.
        () = end_phases(&stream.live) => {}
    }
}

async fn keep_connected(stream: &ControlStream, shutdown: &CancellationToken) {
    let mut state = ReconnectState::new();
    let mut outage = None;
    loop {
        let Err(error) = session::run(stream, shutdown, &mut state).await else {
            return;
        };
        // After a connection, the same kind of outage is a new one, which is logged again.
        if state.is_accepted {
            outage = None;
            // A control plane without room for a message would refuse it in each new session, so
            // the delays continue to grow.
            if !error.is_overload() {
                state.backoff.reset();
            }
        }
        let new = Outage::of(&error);
        if outage.as_ref() != Some(&new) {
            new.log(&error);
        }
        // A denial lasts until a label or a token changes, so frequent attempts are useless.
        let max = match new {
            Outage::Denied(_) => stream.intervals.max_denied_delay,
            Outage::Credentials(_) | Outage::Unreachable => stream.intervals.max_retry_delay,
        };
        outage = Some(new);
        let stopped = shutdown
            .run_until_cancelled(tokio::time::sleep(state.backoff.next_delay(max)))
            .await;
        if stopped.is_none() {
            return;
        }
    }
}

/// The kind of failure that keeps this process from the control plane. Logged when it changes.
#[derive(Debug, PartialEq, Eq)]
enum Outage {
    Unreachable,
    Credentials(String),
    Denied(String),
}

impl Outage {
    fn of(error: &SessionError) -> Self {
        match error {
            SessionError::Denied(_) => Self::Denied(error.to_string()),
            SessionError::Credentials(error) => Self::Credentials(error.to_string()),
            _ => Self::Unreachable,
        }
    }

    fn log(&self, error: &SessionError) {
        let error = error as &dyn std::error::Error;
        let message = match self {
            Self::Unreachable => "control plane unavailable; keeping the last plan",
            Self::Credentials(_) => {
                "cannot load the control plane credentials; keeping the last plan"
            }
            Self::Denied(_) => "access denied by the control plane; keeping the last plan",
        };
        tracing::warn!(error, "{message}");
    }
}

/// Starts the next phase of the plan when one ends. Never returns.
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
