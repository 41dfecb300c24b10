//! tasks: a to-do list in Redis, over HTTP.

mod api;
mod counting;
mod input;
mod metrics;
mod service;
mod store;
mod task;

use std::{sync::Arc, time::Duration};

use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    http::{Bounds, ListBudget, bounded},
    serve::{GRACE, Program, ServeError, Server},
};
use tokio_util::sync::CancellationToken;

use api::Api;
use metrics::Metrics;
use store::{InProcess, Redis, SharedStore};

pub use store::{InvalidRedisUrl, RedisUrl};

/// The largest request body accepted. The longest title, with every character escaped, needs about
/// 2.4 kB.
const MAX_BODY_BYTES: usize = 8 * 1024;
/// The most tasks in the lists that are being built: 16 of the longest, or about 50 MB, since a task
/// takes 3 kB as Redis fields and in JSON.
const MAX_LISTED_TASKS: u16 = 16_000;

/// The settings of tasks.
#[derive(clap::Args, Clone, Debug)]
pub struct TasksArgs {
    /// Redis to store the tasks in, such as redis://:PASSWORD@redis:6379/0, which need not be running
    /// yet [default: tasks are kept in memory and lost when the process ends]
    #[arg(
        long,
        env = "SPOOR_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis_url: Option<RedisUrl>,
    /// Maximum time for a Redis command, including connecting, such as 500ms
    #[arg(
        long,
        env = "SPOOR_REDIS_DEADLINE",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = parse_deadline
    )]
    pub redis_deadline: Duration,
    /// Maximum time for a request, such as 5s
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

/// The error of running the service.
#[derive(Debug, thiserror::Error)]
pub enum TasksError {
    /// A Redis client cannot be created with these settings.
    #[error("cannot use Redis at {url} (SPOOR_REDIS_URL)")]
    Redis {
        /// The address of Redis.
        url: Box<RedisUrl>,
        /// The cause.
        source: Box<redis::RedisError>,
    },
    /// A port cannot be bound, or serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Program for TasksArgs {
    type Error = TasksError;

    async fn serve(self, server: Server) -> Result<(), TasksError> {
        let store = self.store(&server.telemetry)?;
        let metrics = Arc::new(Metrics::new(store.name()));
        server
            .telemetry
            .metrics()
            .register(|registry| metrics.register(registry));
        let api = Api {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            lists: ListBudget::new(MAX_LISTED_TASKS),
        };
        let bounds = Bounds {
            max_body_bytes: MAX_BODY_BYTES,
            deadline: self.deadline,
        };
        let router = bounded(api.router(), bounds);
        // Counting also stops when serving fails, which does not cancel `shutdown`.
        let done = CancellationToken::new();
        let serving = async {
            let _done = done.clone().drop_guard();
            // A request in progress at shutdown may take its whole deadline.
            let grace = self.deadline + GRACE;
            server.serve_http(router, grace).await
        };
        let (served, ()) = tokio::join!(serving, counting::run(&*store, &metrics, done.clone()));
        Ok(served?)
    }
}

impl TasksArgs {
    fn store(&self, telemetry: &Telemetry) -> Result<SharedStore, TasksError> {
        let Some(url) = &self.redis_url else {
            tracing::info!("SPOOR_REDIS_URL is not set; tasks are kept in memory");
            return Ok(Arc::new(InProcess::default()));
        };
        // This does not connect, so that the service can start before Redis.
        let store = Redis::new(url, self.redis_deadline).map_err(|source| TasksError::Redis {
            url: Box::new(url.clone()),
            source: Box::new(source),
        })?;
        telemetry
            .metrics()
            .register(|registry| store.register(registry));
        tracing::info!(redis = %url, "storing tasks in Redis");
        Ok(Arc::new(store))
    }
}
