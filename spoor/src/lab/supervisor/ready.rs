//! Asks a service whether it is ready.

use std::{net::SocketAddr, time::Duration};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(15);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks `/readyz`.
#[derive(Clone)]
pub(super) struct Readiness {
    client: reqwest::Client,
}

impl Readiness {
    pub(super) fn new() -> Self {
        Self {
            client: reqwest::Client::new(),
        }
    }

    /// Returns once the service whose ops port this is answers that it is ready.
    pub(super) async fn wait(&self, ops: SocketAddr) {
        let url = format!("http://{ops}/readyz");
        while !self.is_ready(&url).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn is_ready(&self, url: &str) -> bool {
        let answer = self.client.get(url).timeout(PATIENCE).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}
