//! Requests over a connection that the API server forwards to a pod. No port on this machine is
//! opened, so no other process can use it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use spoor_console::BackendError;
use spoor_policy::Namespace;
use spoor_traces::client::{BoxError, MAX_RESPONSE_BYTES, Transport, TransportError};
use tokio::{sync::Mutex, time::timeout};

use super::{find, ready_pod};
use crate::call::call;

/// The deadline of a request, including the connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A transport to the pods of a cluster's Jaeger.
pub(super) struct ForwardedTransport {
    client: Client,
    namespace: Option<Namespace>,
    /// The connection of the last request. Requests take turns on it.
    connection: Mutex<Option<Connection>>,
}

/// A connection to a pod.
struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    base_path: String,
}

impl ForwardedTransport {
    pub(super) fn new(client: Client, namespace: Option<Namespace>) -> Self {
        Self {
            client,
            namespace,
            connection: Mutex::new(None),
        }
    }

    async fn send(&self, path_and_query: &str) -> Result<(StatusCode, Vec<u8>), BoxError> {
        let mut last = self.connection.lock().await;
        // Taken out, so that a connection with half a response is not used again.
        if let Some(mut connection) = last.take()
            && !connection.sender.is_closed()
            // A pod that has ended is noticed only now.
            && let Ok(response) = connection.get(path_and_query).await
        {
            *last = Some(connection);
            return Ok(response);
        }
        let mut connection = self.connect().await?;
        let response = connection.get(path_and_query).await?;
        *last = Some(connection);
        Ok(response)
    }

    async fn connect(&self) -> Result<Connection, BoxError> {
        let service = find(&self.client, self.namespace.as_ref()).await?;
        let (pod, port) = ready_pod(&self.client, &service).await?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &service.namespace);
        let forwarded = call(pods.portforward(&pod, &[port])).await;
        let mut forwarder = forwarded.map_err(BackendError::from)?;
        let stream = forwarder.take_stream(port);
        let stream = stream.ok_or("the API server forwards no connection")?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped, or the pod closes the connection.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to Jaeger ended");
            }
            forwarder.abort();
        });
        Ok(Connection {
            sender,
            base_path: service.base_path,
        })
    }
}

impl Connection {
    async fn get(&mut self, path_and_query: &str) -> Result<(StatusCode, Vec<u8>), BoxError> {
        let uri = format!("{}{path_and_query}", self.base_path);
        let request = Request::get(uri)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        Ok((status, read(response.into_body()).await?))
    }
}

/// Reads a body, up to the first piece that reaches the limit.
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = vec![];
    while bytes.len() < MAX_RESPONSE_BYTES
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

#[async_trait]
impl Transport for ForwardedTransport {
    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<(StatusCode, Vec<u8>), TransportError> {
        let target = with_query(path, parameters);
        match timeout(REQUEST_TIMEOUT, self.send(&target)).await {
            Ok(response) => response.map_err(TransportError::Failed),
            Err(_) => {
                let message = format!("Jaeger did not respond within {REQUEST_TIMEOUT:?}");
                Err(TransportError::Failed(message.into()))
            }
        }
    }
}

impl fmt::Debug for ForwardedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut this = f.debug_struct("ForwardedTransport");
        this.field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// A path with its query, encoded.
fn with_query(path: &str, parameters: &[(&str, String)]) -> String {
    // The names have a dot and underscores, which need no encoding.
    let pairs = parameters.iter().map(|(name, value)| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        format!("{name}={value}")
    });
    let query: Vec<String> = pairs.collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let parameters = [
            ("query.service_name", "a b&c".to_owned()),
            ("limit", "1".to_owned()),
        ];
        let target = with_query("/api/v3/traces", &parameters);
        assert_eq!(
            target,
            "/api/v3/traces?query.service_name=a%20b%26c&limit=1"
        );
        assert_eq!(with_query("/api/v3/services", &[]), "/api/v3/services");
    }
}
