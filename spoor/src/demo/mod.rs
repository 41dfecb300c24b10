//! `spoor demo`: a tour that starts the lab, shows a trace, changes a sampling rate twice while
//! everything runs, and judges each rate by what was counted.

mod rates;
mod tour;

use std::process::ExitCode;

use clap::Args;
use spoor_api::read::ReadError;

use crate::{
    cli::Output,
    lab::{Ports, StartError},
    load::LoadError,
    traces::AskError,
};

/// Take a tour that ends: a trace, its bottleneck, and a sampling rate that changes live
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor demo
  spoor demo --any-ports       beside a lab that runs already
  spoor demo --output json     for scripts: one line with every figure

Ends with 0 if every rate was observed as asked for, with 1 if not.")]
pub struct DemoArgs {
    #[command(flatten)]
    ports: Ports,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Why the tour could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The lab did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No folder for the tour's own lab.
    #[error("making a folder for the tour's data: {0}")]
    Folder(#[source] std::io::Error),
    /// No load could be sent.
    #[error("sending load: {0}")]
    Load(#[from] LoadError),
    /// Requests failed that nobody made fail.
    #[error("{failed} of {requests} requests failed")]
    RequestsFailed {
        /// How many failed.
        failed: u64,
        /// Of how many.
        requests: u64,
    },
    /// The traces could not be asked for.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A sample was refused.
    #[error("applying {sample}: {reason}")]
    Apply {
        /// Its file.
        sample: &'static str,
        /// Why.
        reason: String,
    },
    /// The edge's name is none.
    #[error("naming the edge: {0}")]
    Edge(#[from] spoor_policy::InvalidName),
    /// Something did not come about in time.
    #[error("waited {seconds} s in vain for {what}")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A sample cannot be read.
    #[error("reading {sample}: {}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Sample {
        /// Its file.
        sample: &'static str,
        /// What is wrong with it.
        errors: Vec<ReadError>,
    },
}

impl DemoArgs {
    /// Takes the tour.
    ///
    /// # Errors
    /// [`DemoError`] says which stage failed.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let passed = tour::take(self.ports, self.output).await?;
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
