//! The signals that end a process.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Waits for SIGINT (Ctrl-C) or SIGTERM. The signals are caught from this call on, not from the
/// first poll.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()>> {
    // Registered here rather than in the returned `Future`: a signal that arrived before its first
    // poll would end the process.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// A token that is cancelled on SIGINT (Ctrl-C) or SIGTERM.
///
/// # Errors
/// If the handlers cannot be installed.
pub fn cancel_on_shutdown_signal() -> io::Result<CancellationToken> {
    let (token, signal) = (CancellationToken::new(), shutdown_signal()?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        signal.await;
        cancelled.cancel();
    });
    Ok(token)
}
