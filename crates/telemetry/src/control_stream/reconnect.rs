//! Keeps a stream of the control plane open: one session after another.

use std::{future::Future, time::Duration};

use spoor_runtime::Backoff;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::{config::Intervals, connection::SessionError};

/// The delay before the first retry. It is short, since a control plane restarts quickly.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);

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
    /// True after the first message of the control plane in the present session, or else the last
    /// one. A stream may also be open briefly before the process is denied.
    is_accepted: bool,
}

impl Link {
    fn new() -> Self {
        Self {
            backoff: Backoff::new(MIN_RETRY_DELAY),
            is_accepted: false,
        }
    }

    /// Records a message of the control plane, the first of which shows that it accepts the session.
    pub fn accepted_by(&mut self, endpoint: &Endpoint) {
        if !self.is_accepted {
            self.is_accepted = true;
            self.backoff.reset();
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
    let mut obstacle = None;
    loop {
        link.is_accepted = false;
        let Err(error) = sessions.run(&mut link, shutdown).await else {
            return;
        };
        // After a connection the same obstacle is a new outage, which is logged again.
        if link.is_accepted {
            obstacle = None;
        }
        let new = Obstacle::of(&error);
        if obstacle.as_ref() != Some(&new) {
            new.log(&error, S::HELD);
        }
        // A denial lasts until a label or a token changes, so frequent attempts are useless.
        let max = match new {
            Obstacle::Denied(_) => intervals.denied,
            Obstacle::Credentials(_) | Obstacle::Unreachable => intervals.retry,
        };
        obstacle = Some(new);
        let stopped = shutdown
            .run_until_cancelled(tokio::time::sleep(link.backoff.next_delay(max)))
            .await;
        if stopped.is_none() {
            return;
        }
    }
}

/// An obstacle between the process and the control plane. It is logged when it changes.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    Unreachable,
    Credentials(String),
    Denied(String),
}

impl Obstacle {
    fn of(error: &SessionError) -> Self {
        match error {
            SessionError::Denied(_) => Self::Denied(error.to_string()),
            SessionError::Credentials(error) => Self::Credentials(error.to_string()),
            _ => Self::Unreachable,
        }
    }

    fn log(&self, error: &SessionError, held: &str) {
        let error = error as &dyn std::error::Error;
        match self {
            Self::Unreachable => {
                tracing::warn!(error, "control plane unavailable; keeping the last {held}");
            }
            Self::Credentials(_) => tracing::warn!(
                error,
                "cannot load the control plane credentials; keeping the last {held}"
            ),
            Self::Denied(_) => tracing::warn!(
                error,
                "access denied by the control plane; keeping the last {held}"
            ),
        }
    }
}
