//! Decisions in rounds, between which receivers get the lock.

/// Runs rounds until one returns false. Each locks the sampler for itself.
///
/// On a blocking thread: an asynchronous worker thread would handle all requests that are ready
/// after each round, so a flood of refused requests would delay the decisions that make room.
pub(crate) async fn decide_in_rounds(decide_some: impl Fn() -> bool + Send + 'static) {
    let decided = tokio::task::spawn_blocking(move || while decide_some() {});
    if let Err(error) = decided.await {
        tracing::error!(%error, "cannot decide on traces");
    }
}
