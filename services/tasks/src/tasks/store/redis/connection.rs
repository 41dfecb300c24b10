//! A connection to Redis that all requests share, with reconnection and deadlines.

use std::{error::Error, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{
    Client, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{RedisUrl, StoreError};

/// The minimum delay between an attempt to connect and a second one; the client adds up to as much at
/// random. While Redis is unavailable, requests wait for the same two attempts, fail with them, and
/// start the next two. If no request was waiting, the next one fails immediately and starts two.
const RECONNECT_DELAY: Duration = Duration::from_millis(50);
/// The most commands queued to be written. Further requests wait.
const MAX_QUEUED_COMMANDS: usize = 256;

pub(super) struct Connection {
    client: Client,
    server: String,
    deadline: Duration,
    /// Shared with the requests that use it, so that concurrent ones replace it only once.
    current: Mutex<Arc<ConnectionManager>>,
}

impl Connection {
    /// Creates a connection that is opened on the first request. Must be called inside a Tokio
    /// runtime.
    pub(super) fn new(url: &RedisUrl, deadline: Duration) -> RedisResult<Self> {
        let client = Client::open(url.with_password())?;
        let first = manager(&client, deadline)?;
        Ok(Self {
            client,
            server: format!("{}:{}", url.host, url.port),
            deadline,
            current: Mutex::new(Arc::new(first)),
        })
    }

    /// Runs commands within the deadline, which includes connecting.
    pub(super) async fn run<T>(
        &self,
        commands: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let used = Arc::clone(&self.current.lock());
        let mut manager = ConnectionManager::clone(&used);
        // The manager's own timeouts apply to each step; this one applies to all of them together.
        let error = match tokio::time::timeout(self.deadline, commands(&mut manager)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => error,
            Err(_elapsed) => io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        if is_stuck(&error) {
            self.replace(&used);
        }
        Err(self.explain(error))
    }

    /// Replaces a stuck connection. The manager reconnects when a connection breaks, but not when
    /// Redis does not respond or refuses the handshake.
    fn replace(&self, used: &Arc<ConnectionManager>) {
        let mut current = self.current.lock();
        // Another request has replaced it already.
        if !Arc::ptr_eq(&current, used) {
            return;
        }
        match manager(&self.client, self.deadline) {
            Ok(manager) => *current = Arc::new(manager),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn Error,
                    "cannot replace the Redis connection"
                );
            }
        }
    }

    fn explain(&self, error: RedisError) -> StoreError {
        let server = self.server.clone();
        // First, since a timeout counts as an I/O error too.
        if error.is_timeout() {
            StoreError::Timeout(server)
        } else if error.is_io_error() {
            StoreError::Unavailable(server, error)
        } else if is_refusal(&error) {
            StoreError::Refused(server, error)
        } else {
            StoreError::Failed(server, error)
        }
    }
}

fn manager(client: &Client, deadline: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline))
        .set_number_of_retries(1)
        .set_min_delay(RECONNECT_DELAY)
        .set_max_delay(RECONNECT_DELAY)
        .set_pipeline_buffer_size(MAX_QUEUED_COMMANDS);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn is_stuck(error: &RedisError) -> bool {
    // The manager itself reconnects after I/O errors.
    error.is_timeout() || (!error.is_io_error() && is_handshake_error(error))
}

fn is_handshake_error(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "LOADING"))
}

/// True if Redis responds, but refuses commands in its present state.
fn is_refusal(error: &RedisError) -> bool {
    let busy = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::NoPerm
        )
    );
    let code = matches!(
        error.code(),
        Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS")
    );
    busy || code || is_handshake_error(error)
}
