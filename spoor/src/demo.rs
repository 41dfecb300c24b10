//! `spoor demo`: a tour that starts the lab, shows a trace, changes a sampling rate twice while
//! the services run, and verifies each rate statistically.

mod rates;
mod tour;

use std::process::ExitCode;

use clap::Args;
use spoor_api::read::ManifestError;
use spoor_lab::StartLabError;
use spoor_load::DriveError;

use crate::{
    cli::{Output, PortArgs},
    traces::QueryError,
};

/// Take a short tour: a trace, its bottleneck, and a sampling rate that changes live
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor demo
  spoor demo --any-ports       while another lab is running
  spoor demo --output json     for scripts: print all figures as one line of JSON

Exits with 0 if every observed rate matches its policy, and with 1 otherwise.")]
pub struct DemoArgs {
    #[command(flatten)]
    ports: PortArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The error of a tour.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The lab did not start.
    #[error("{0}")]
    Start(#[from] StartLabError),
    /// The folder for the tour's data cannot be created.
    #[error("cannot create a folder for the tour's data: {0}")]
    Folder(#[source] std::io::Error),
    /// Load could not be sent.
    #[error("cannot send load: {0}")]
    Load(#[from] DriveError),
    /// Requests failed.
    #[error("{failed} of {requests} requests failed")]
    RequestsFailed {
        /// The number of failed requests.
        failed: u64,
        /// The number of all requests.
        requests: u64,
    },
    /// The traces could not be queried.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A sample policy was refused.
    #[error("cannot apply {sample}: {reason}")]
    Apply {
        /// The sample's file.
        sample: &'static str,
        /// The cause.
        reason: String,
    },
    /// The edge's name is invalid.
    #[error("invalid service name: {0}")]
    Edge(#[from] spoor_policy::InvalidName),
    /// The lab has no address of this name.
    #[error("the lab has no address for {0}")]
    NoAddress(String),
    /// An expected event did not happen in time.
    #[error("timed out after {seconds} s waiting for {what}")]
    TimedOut {
        /// The expected event.
        what: String,
        /// The time waited.
        seconds: u64,
    },
    /// A sample policy cannot be read.
    #[error("cannot read {sample}: {}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Sample {
        /// The sample's file.
        sample: &'static str,
        /// The errors in it.
        errors: Vec<ManifestError>,
    },
}

impl DemoArgs {
    /// Runs the tour.
    ///
    /// # Errors
    /// [`DemoError`] names the stage that failed.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let passed = tour::run(self.ports.0, self.output).await?;
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
