//! Polling of a service's readiness.

use std::{net::SocketAddr, time::Duration};

const POLL_INTERVAL: Duration = Duration::from_millis(15);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of `/readyz`.
#[derive(Clone)]
pub(super) struct Readiness(reqwest::Client);

impl Default for Readiness {
    fn default() -> Self {
        // The services are on this machine, which a proxy could not reach. Without TLS, building the
        // client cannot fail.
        let client = reqwest::Client::builder().no_proxy().build();
        Self(client.unwrap_or_default())
    }
}

impl Readiness {
    /// Waits until the service with this ops port is ready.
    pub(super) async fn wait(&self, ops: SocketAddr) {
        let url = format!("http://{ops}/readyz");
        // A port that is not open yet refuses at once, so polling this often costs little.
        while !self.is_ready(&url).await {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn is_ready(&self, url: &str) -> bool {
        let response = self.0.get(url).timeout(REQUEST_TIMEOUT).send().await;
        response.is_ok_and(|response| response.status().is_success())
    }
}
