//! tasks: things to do, kept in Redis, over HTTP.

mod api;
mod census;
mod input;
mod measures;
mod store;
mod task;
mod work;

use std::{sync::Arc, time::Duration};

use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    http::{Bounds, bounded},
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use api::Api;
use measures::Measures;
use store::{InProcess, Redis, SharedStore};

pub use store::{InvalidRedisUrl, RedisUrl};

/// The longest body: a title in its widest writing, and room to spare.
const MOST_BYTES: usize = 8 * 1024;
/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 1024;

/// What can be set about tasks.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// The Redis that keeps the tasks, such as redis://:PASSWORD@redis:6379/0; it may come
    /// later. Without one they are kept in the process, and are gone when it ends.
    #[arg(
        long,
        env = "SPOOR_REDIS_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis_url: Option<RedisUrl>,
    /// How long Redis may take to answer, such as 500ms, the time to connect included.
    #[arg(
        long,
        env = "SPOOR_REDIS_DEADLINE",
        value_name = "DURATION",
        default_value = "1s",
        value_parser = parse_deadline
    )]
    pub redis_deadline: Duration,
    /// How long a request may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

/// Why tasks doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No client of Redis can be made with these settings.
    #[error("can't use Redis at {url} (SPOOR_REDIS_URL)")]
    Redis {
        /// Where it is.
        url: Box<RedisUrl>,
        /// Why not.
        source: Box<redis::RedisError>,
    },
    /// A port, or the serving itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Program for Args {
    type Error = RunError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let store = self.store(telemetry)?;
        let measures = Arc::new(Measures::new(store.kind()));
        telemetry
            .metrics()
            .register(|registry| measures.register(registry));
        let api = Api {
            store: Arc::clone(&store),
            measures: Arc::clone(&measures),
        };
        let bounds = Bounds {
            at_once: MOST_AT_ONCE,
            body_bytes: MOST_BYTES,
            deadline: self.deadline,
        };
        let router = bounded(api.router(), bounds);
        let done = CancellationToken::new();
        let serving = async {
            let _done = done.clone().drop_guard();
            let grace = self.deadline + GRACE;
            ports.serve_http(router, grace, telemetry, shutdown).await
        };
        let (served, ()) = tokio::join!(serving, census::keep(&*store, &measures, done.clone()));
        Ok(served?)
    }
}

impl Args {
    fn store(&self, telemetry: &Telemetry) -> Result<SharedStore, RunError> {
        let Some(url) = &self.redis_url else {
            tracing::info!(
                "the tasks are kept in this process and are gone when it ends: SPOOR_REDIS_URL \
                 is not set"
            );
            return Ok(Arc::new(InProcess::default()));
        };
        let store = Redis::new(url, self.redis_deadline).map_err(|source| RunError::Redis {
            url: Box::new(url.clone()),
            source: Box::new(source),
        })?;
        telemetry
            .metrics()
            .register(|registry| store.register(registry));
        tracing::info!(redis = %url, "the tasks are kept here");
        Ok(Arc::new(store))
    }
}
