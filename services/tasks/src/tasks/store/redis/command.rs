//! Commands to Redis: their names, spans and durations.

use std::time::Instant;

use prometheus_client::{
    metrics::{family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use redis::RedisError;
use spoor_telemetry::database::{self, Statement};
use tracing::Instrument;

use super::{RedisUrl, StoreError};

/// `db.system.name`.
const SYSTEM: &str = "redis";
const DEFAULT_PORT: u16 = 6379;
/// The bucket bounds that the semantic conventions recommend for database calls, in seconds.
const DURATION_BUCKETS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// A command as spans and metrics show it, with the name of its script if it runs one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisCommand {
    /// `db.query.summary`.
    summary: &'static str,
    /// `db.query.text`, with placeholders and never with values.
    text: &'static str,
}

impl RedisCommand {
    // The name of the script instead of its hash, which would mean nothing in a trace.
    pub(super) const CREATE: Self = Self::new(
        "EVALSHA create",
        "EVALSHA create 3 task:? tasks:open tasks:due ?",
    );
    pub(super) const GET: Self = Self::new("HGETALL", "HGETALL task:?");
    pub(super) const LIST: Self = Self::new("EVALSHA list", "EVALSHA list 2 ? tasks:due ?");
    pub(super) const COMPLETE: Self = Self::new(
        "EVALSHA complete",
        "EVALSHA complete 4 task:? tasks:open tasks:due tasks:completed ?",
    );
    pub(super) const DELETE: Self = Self::new(
        "EVALSHA delete",
        "EVALSHA delete 4 task:? tasks:open tasks:due tasks:completed ?",
    );

    const fn new(summary: &'static str, text: &'static str) -> Self {
        Self { summary, text }
    }
}

/// The spans and durations of the commands to one Redis server, except those that count tasks.
pub(super) struct CommandTelemetry {
    host: String,
    port: Option<u16>,
    database: String,
    durations: Durations,
}

type Labels = [(&'static str, &'static str); 3];
type Durations = Family<Labels, Histogram, fn() -> Histogram>;

impl CommandTelemetry {
    pub(super) fn of(url: &RedisUrl) -> Self {
        Self {
            host: url.host.clone(),
            // The semantic conventions leave out the default port.
            port: (url.port != DEFAULT_PORT).then_some(url.port),
            database: url.database.to_string(),
            durations: Durations::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let name = "db_client_operation_duration";
        let help = "Duration of operations on the database";
        registry.register_with_unit(name, help, Unit::Seconds, self.durations.clone());
    }

    /// Runs a command in a span and records its duration.
    pub(super) async fn observe<T>(
        &self,
        command: RedisCommand,
        run: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = Statement {
            system: SYSTEM,
            summary: command.summary,
            text: command.text,
            server: Some(&self.host),
            port: self.port,
            namespace: Some(&self.database),
        }
        .span();
        let started = Instant::now();
        let result = run.instrument(span.clone()).await;
        // To Prometheus, an empty label is the same as none.
        let error_type = result.as_ref().err().map_or("", error_type);
        if let Err(error) = &result {
            database::record_failure(&span, error_type, error);
        }
        let labels = [
            ("db_system_name", SYSTEM),
            ("db_query_summary", command.summary),
            ("error_type", error_type),
        ];
        let duration = self.durations.get_or_create(&labels);
        duration.observe(started.elapsed().as_secs_f64());
        result
    }
}

/// The `error.type`. It has few values, so that metrics can have it as a label.
fn error_type(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full | StoreError::InvalidTask { .. } => "_OTHER",
        StoreError::Timeout(_) => "timeout",
        StoreError::Unavailable(_, error) if error.is_connection_refusal() => "connection_refused",
        StoreError::Unavailable(..) => "connection_broken",
        StoreError::Refused(_, reply) | StoreError::Failed(_, reply) => code(reply),
    }
}

/// The error code that Redis sent, if it is a well-known one.
fn code(error: &RedisError) -> &'static str {
    const CODES: [&str; 12] = [
        "ERR",
        "WRONGTYPE",
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "LOADING",
        "READONLY",
        "OOM",
        "MISCONF",
        "BUSY",
        "MASTERDOWN",
        "NOREPLICAS",
    ];
    let code = error.code().unwrap_or_default();
    // The client reports a failed login as an error kind of its own, without the code that Redis sent.
    let is_auth_error = matches!(error.kind(), redis::ErrorKind::AuthenticationFailed);
    let unknown = if is_auth_error { "WRONGPASS" } else { "_OTHER" };
    let known = CODES.into_iter().find(|known| *known == code);
    known.unwrap_or(unknown)
}
