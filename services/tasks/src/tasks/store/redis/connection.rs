//! One connection to Redis for all requests, which comes back by itself, and deadlines.

use std::{error::Error, io, time::Duration};

use parking_lot::Mutex;
use redis::{
    Client, ErrorKind, RedisError, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use super::{RedisUrl, StoreError};

/// While Redis is away, this is how long requests wait for one common attempt to reach it, at
/// least; in between they fail at once.
const RESPITE: Duration = Duration::from_millis(50);
/// Commands that wait to be written; who has more waits.
const MOST_WAITING: usize = 256;

pub(super) struct Connection {
    client: Client,
    server: String,
    deadline: Duration,
    current: Mutex<Numbered>,
}

/// The connection in use, and the how many-eth it is.
#[derive(Clone)]
struct Numbered {
    number: u64,
    manager: ConnectionManager,
}

impl Connection {
    /// To be made at the first request. Must be called inside a Tokio runtime.
    pub(super) fn new(url: &RedisUrl, deadline: Duration) -> RedisResult<Self> {
        let client = Client::open(url.info().clone())?;
        let (host, port) = url.server();
        let first = Numbered {
            number: 0,
            manager: manager(&client, deadline)?,
        };
        Ok(Self {
            client,
            server: format!("{host}:{port}"),
            deadline,
            current: Mutex::new(first),
        })
    }

    /// Runs commands within the deadline, which covers the time that it takes to connect.
    pub(super) async fn run<T>(
        &self,
        commands: impl AsyncFnOnce(&mut ConnectionManager) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let Numbered {
            number,
            mut manager,
        } = self.current.lock().clone();
        let error = match tokio::time::timeout(self.deadline, commands(&mut manager)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_elapsed) => io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        if is_stuck(&error) {
            self.replace(number);
        }
        Err(self.explain(error))
    }

    /// The manager comes back from broken connections, but neither from one where nobody answers
    /// nor from one that Redis refused.
    fn replace(&self, number: u64) {
        let mut current = self.current.lock();
        if current.number != number {
            return;
        }
        match manager(&self.client, self.deadline) {
            Ok(manager) => {
                *current = Numbered {
                    number: number + 1,
                    manager,
                };
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "can't renew the connection");
            }
        }
    }

    fn explain(&self, error: RedisError) -> StoreError {
        let server = self.server.clone();
        if error.is_timeout() {
            StoreError::Late { server }
        } else if error.is_io_error() {
            StoreError::Away {
                server,
                source: error,
            }
        } else if refuses_all(&error) {
            StoreError::Refused {
                server,
                answer: error,
            }
        } else {
            StoreError::Failed {
                server,
                answer: error,
            }
        }
    }
}

fn manager(client: &Client, deadline: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(deadline))
        .set_response_timeout(Some(deadline))
        .set_number_of_retries(1)
        .set_min_delay(RESPITE)
        .set_max_delay(RESPITE)
        .set_pipeline_buffer_size(MOST_WAITING);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn is_stuck(error: &RedisError) -> bool {
    error.is_timeout() || (!error.is_io_error() && is_of_the_handshake(error))
}

fn is_of_the_handshake(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::RESP3NotSupported
    ) || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "LOADING"))
}

/// Whether Redis answers, but would not have done anything else either.
fn refuses_all(error: &RedisError) -> bool {
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
    busy || code || is_of_the_handshake(error)
}
