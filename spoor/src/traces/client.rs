//! The transport of queries to an HTTP server.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use spoor_traces::client::{TraceClient, Transport, TransportError};

use crate::cli::{exchange, http_client};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A client of the query API at a base URL.
pub fn trace_client(base: &str) -> TraceClient {
    let transport = HttpTransport {
        base: base.trim_end_matches('/').to_owned(),
        http: http_client(base),
    };
    TraceClient::new(base, transport)
}

#[derive(Debug)]
struct HttpTransport {
    base: String,
    http: reqwest::Client,
}

#[async_trait]
impl Transport for HttpTransport {
    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<(StatusCode, Vec<u8>), TransportError> {
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request.query(parameters).timeout(REQUEST_TIMEOUT);
        exchange(request)
            .await
            .map_err(|error| match error.is_connect() {
                true => TransportError::NotRunning,
                false => TransportError::Failed(error.into()),
            })
    }
}
