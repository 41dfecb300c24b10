//! What tells a process to end.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Returns on SIGINT (Ctrl-C) or SIGTERM. They are caught from the call on, not from the first
/// poll.
///
/// # Errors
/// When they can't be caught.
pub fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// A token that SIGINT (Ctrl-C) or SIGTERM cancels.
///
/// # Errors
/// When they can't be caught.
pub fn cancelled_when_told() -> io::Result<CancellationToken> {
    let (token, told) = (CancellationToken::new(), told_to_end()?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        told.await;
        cancelled.cancel();
    });
    Ok(token)
}
