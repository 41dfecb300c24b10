//! `spoor load`: sends requests at a rate, or as fast as they are answered, and says how long
//! the answers took.

mod drive;
mod summary;

use std::{num::NonZeroUsize, process::ExitCode, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

pub use drive::{Load, LoadError, Pace, drive};

use crate::cli::Output;
use crate::cli::out::{say, show};

/// Send load to a service and measure the latency
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor load                               200 requests a second for 10 s to service-a
  spoor load --rate 50 --duration 1m       a slow, steady minute
  spoor load --requests 10000 --path '/?wait=0ms&calc=0'
                                           10 000 requests, as fast as they are answered
  spoor load --url http://127.0.0.1:8081 --path /api/wishes --output json

Ends with 1 if any request failed.")]
pub struct LoadArgs {
    /// Requests a second, sent on time whether or not earlier ones were answered
    /// [default: 200, unless --requests stands alone]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// How many requests to send
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to send, such as 30s or 2m [default: 10s, unless --requests is given]
    #[arg(long, value_parser = crate::cli::duration)]
    duration: Option<Duration>,
    /// Connections, each with one request at a time
    #[arg(long, default_value = "256")]
    connections: NonZeroUsize,
    /// Where to
    #[arg(long, env = "SPOOR_LOAD_URL", default_value = "http://127.0.0.1:8080")]
    url: http::Uri,
    /// The path and query to ask for
    #[arg(long, default_value = "/")]
    path: String,
    /// How long to wait for one answer
    #[arg(long, default_value = "10s", value_parser = crate::cli::duration)]
    timeout: Duration,
    /// How to print the summary
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl LoadArgs {
    /// Sends what is asked for, with a progress bar, and prints the summary; Ctrl-C ends it early.
    ///
    /// # Errors
    /// [`LoadError`] when the address is no HTTP address or nobody listens there.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let load = self.load();
        let stop = crate::cli::cancelled_when_told()?;
        let bar = progress_bar(&load);
        let summary = drive(&load, |done| bar.set_position(done), stop).await;
        bar.finish_and_clear();
        let summary = summary?;
        match self.output {
            Output::Json => say!("{}", summary.to_json()),
            Output::Table => show!("{summary}"),
        }
        Ok(if summary.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn load(&self) -> Load {
        let pace = match (self.rate, self.requests, self.duration) {
            (Some(rate), _, _) => Pace::Rate(rate),
            (None, Some(_), None) => Pace::AsAnswered,
            (None, _, _) => Pace::Rate(200),
        };
        let duration = match (self.requests, self.duration) {
            (None, None) => Some(Duration::from_secs(10)),
            (_, duration) => duration,
        };
        Load {
            url: self.url.clone(),
            path: self.path.clone(),
            pace,
            requests: self.requests,
            duration,
            connections: self.connections,
            timeout: self.timeout,
        }
    }
}

/// A bar on a terminal; nothing elsewhere.
fn progress_bar(load: &Load) -> ProgressBar {
    let style = "{spinner:.cyan} {pos}/{len} requests {wide_bar:.cyan/blue} {per_sec} {eta}";
    let bar = match load.expected_requests() {
        Some(requests) => ProgressBar::new(requests),
        None => ProgressBar::new_spinner(),
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
