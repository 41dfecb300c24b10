//! Keeps a stream to the control plane open: one session after another.

use std::{future::Future, time::Duration};

use spoor_runtime::Backoff;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::{config::Intervals, connection::SessionError};

/// The longest delay before the first retry. It is short, since a control plane restarts quickly.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The sessions of one kind of stream.
pub trait Sessions: Send {
    /// The part of the control plane's data that stays in force without a connection, for the log,
    /// such as `plan`.
    const HELD: &'static str;

    /// Opens a session and serves it until the shutdown.
    ///
    /// # Errors
    /// [`SessionError`] if there is no session, or it ends before the shutdown.
    fn run(
        &mut self,
        link: &mut Link,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = Result<(), SessionError>> + Send;
}

/// The state of the link to the control plane, from one session to the next.
#[derive(Debug)]
pub struct Link {
    backoff: Backoff,
    /// True if the control plane has accepted the current session, or the last one if none is open.
    /// An open stream alone proves nothing: the process may still be denied.
    is_accepted: bool,
}

impl Link {
    fn new() -> Self {
        Self {
            backoff: Backoff::new(FIRST_RETRY_DELAY),
            is_accepted: false,
        }
    }

    /// Records that the control plane has accepted the session: it has sent a message, or has not
    /// denied access for a while.
    pub fn accepted_by(&mut self, endpoint: &Endpoint) {
        if !self.is_accepted {
            self.is_accepted = true;
            tracing::info!(endpoint = %endpoint.uri(), "control plane connected");
        }
    }
}

/// Runs sessions until `shutdown`, with increasing delays while there is no connection.
pub async fn keep_connected<S: Sessions>(
    sessions: &mut S,
    intervals: Intervals,
    shutdown: &CancellationToken,
) {
    let mut link = Link::new();
    let mut outage = None;
    loop {
        link.is_accepted = false;
        let Err(error) = sessions.run(&mut link, shutdown).await else {
            return;
        };
        // After a connection, the same kind of outage is a new one, which is logged again.
        if link.is_accepted {
            outage = None;
            // A control plane without room for a message would refuse it in each new session, so
            // the delays continue to grow.
            if !error.is_overload() {
                link.backoff.reset();
            }
        }
        let new = Outage::of(&error);
        if outage.as_ref() != Some(&new) {
            new.log(&error, S::HELD);
        }
        // A denial lasts until a label or a token changes, so frequent attempts are useless.
        let max = match new {
            Outage::Denied(_) => intervals.max_denied_delay,
            Outage::Credentials(_) | Outage::Unreachable => intervals.max_retry_delay,
        };
        outage = Some(new);
        let stopped = shutdown
            .run_until_cancelled(tokio::time::sleep(link.backoff.next_delay(max)))
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

    fn log(&self, error: &SessionError, held: &str) {
        let error = error as &dyn std::error::Error;
        let message = match self {
            Self::Unreachable => "control plane unavailable",
            Self::Credentials(_) => "cannot load the control plane credentials",
            Self::Denied(_) => "access denied by the control plane",
        };
        tracing::warn!(error, "{message}; keeping the last {held}");
    }
}
