use std::time::Duration;

use tokio::time::Instant;

/// Repeats `attempt` until it succeeds. Panics after `deadline` with a description of what was
/// awaited and the reason why the last attempt failed.
pub async fn eventually<T, Attempt, Outcome>(
    what: &str,
    deadline: Duration,
    mut attempt: Attempt,
) -> T
where
    Attempt: FnMut() -> Outcome,
    Outcome: Future<Output = Result<T, String>>,
{
    let start = Instant::now();
    let mut last = "no attempt completed".to_owned();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(reason)) => last = reason,
            Err(_) => {}
        }
        assert!(
            start.elapsed() < deadline,
            "{what}: not within {deadline:?}; last attempt: {last}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
