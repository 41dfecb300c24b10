use std::time::Duration;

use tokio::time::Instant;

/// Tries until it succeeds; panics after `deadline` with what was awaited and why the last
/// attempt was not it.
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
    let mut last = "no attempt came to an end".to_owned();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(found)) => return found,
            Ok(Err(why)) => last = why,
            Err(_) => {}
        }
        assert!(
            start.elapsed() < deadline,
            "{what}: not within {deadline:?}; last seen: {last}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
