//! The client of the control plane's stream.
//!
//! Receives plans, shares of rate limits and faults, acknowledges or refuses plans, and reports
//! counts. It never fails: while there is no connection, the last plan stays in force, its phases
//! end on time, and the client reconnects until it is stopped.
//!
//! Other streams of the control plane share its parts: [`keep_connected`] runs one session after
//! another, each over a [`Connection`] with an [`Exchange`] of messages.

mod config;
mod connection;
mod parts;
mod reconnect;
mod session;

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::sampler::Live;

pub use crate::credentials::{Credentials, CredentialsError};
pub use config::{ControlStream, Intervals};
pub use connection::{Connection, Exchange, SessionError};
pub use parts::in_parts;
pub use reconnect::{Link, Sessions, keep_connected};
use session::PolicySessions;

/// Keeps the stream open until `shutdown`, and then sends a final report.
pub async fn run(stream: ControlStream, shutdown: CancellationToken) {
    let mut sessions = PolicySessions::new(&stream);
    tokio::select! {
        () = keep_connected(&mut sessions, stream.intervals, &shutdown) => {}
        // Separate from the stream, since phases also end without a connection.
        () = end_phases(&stream.live) => {}
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
