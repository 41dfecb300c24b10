//! `spoor demo`: a tour that starts the lab, shows a trace, changes a sampling rate twice while
//! the services run, and verifies each rate statistically.

mod rates;
mod tour;

use std::{fmt::Display, future::Future, process::ExitCode, time::Duration};

use anyhow::anyhow;
use clap::Args;

use crate::cli::{Output, PortArgs, exit_code};

/// Take a short tour: a trace, its bottleneck, and a sampling rate that changes live
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor demo
  spoor demo --any-ports       while another lab is running
  spoor demo --output json     for scripts: print all figures as one line of JSON

Exits with 0 if every observed rate matches its policy, every sampled trace arrives and no service
is restarted, and with 1 otherwise.")]
pub struct DemoArgs {
    #[command(flatten)]
    ports: PortArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl DemoArgs {
    /// Runs the tour.
    ///
    /// # Errors
    /// The failure of a stage.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let passed = tour::run(self.ports.0, self.output).await?;
        Ok(exit_code(passed))
    }
}

/// Waits for an event, for at most `limit`.
async fn within<T>(
    limit: Duration,
    what: impl Display,
    event: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let waited = tokio::time::timeout(limit, event).await;
    waited.map_err(|_| anyhow!("timed out after {limit:?} waiting for {what}"))
}
