//! `spoor generate`: sends traces of a known shape over OTLP and says what was sent, so that
//! what arrives at the other end can be counted against it.

mod send;
mod shape;
mod summary;

use std::{num::NonZeroU32, process::ExitCode, time::Duration};

use clap::Args;
use spoor_policy::{Probability, ServiceName};
use spoor_telemetry::Settings;

use crate::cli::out::{say, show};
use crate::cli::{Invalid, Output};
use send::Generation;
use shape::Shape;

/// Send traces of a known shape over OTLP, and say what was sent
///
/// Where to is in OTEL_EXPORTER_OTLP_ENDPOINT and its kin, as for every service. The spans wait,
/// are sent and are retried as those of a service; none are sampled away before.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor generate                           50 traces a second for 10 s
  spoor generate --service shop --service till --spans 8 --spread 1500ms --errors 5%
                                           traces that start at two services in turn, each with
                                           spans of both; one in twenty has an error
  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317 spoor generate --traces 1000 --output json

Ends with 1 if any span was dropped.")]
pub struct GenerateArgs {
    /// The service.name of the spans; several take turns, trace by trace and span by span
    #[arg(long = "service", value_name = "NAME", default_value = "generated")]
    services: Vec<ServiceName>,
    /// Traces a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=2_000))]
    rate: u32,
    /// How many traces [default: as many as --duration has room for]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    traces: Option<u64>,
    /// How long traces are started [default: 10s, unless --traces is given]
    #[arg(long, value_parser = crate::cli::duration)]
    duration: Option<Duration>,
    /// Spans in each trace
    #[arg(long, default_value = "4", value_parser = spans)]
    spans: NonZeroU32,
    /// From the first span of a trace to its last; each is handed over when it ends
    #[arg(long, default_value = "1s", value_parser = spread)]
    spread: Duration,
    /// How many of the traces have a span with an error
    #[arg(long, default_value = "0%")]
    errors: Probability,
    /// How long the last spans may take to be exported; longer than a receiver's rollout
    #[arg(long, default_value = "2m", value_parser = crate::cli::duration)]
    grace: Duration,
    /// How to print the summary
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl GenerateArgs {
    /// Sends what is asked for and prints the summary; Ctrl-C starts no more traces, and ends
    /// those that have begun.
    ///
    /// # Errors
    /// Settings that can't be used, or an exporter that can't be built.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let settings = Settings::from_env()
            .map_err(|errors| Invalid(errors.iter().map(ToString::to_string).collect()))?;
        let stop = crate::cli::cancelled_when_told()?;
        let summary = send::send(&self.generation(), &settings, self.grace, stop).await?;
        match self.output {
            Output::Json => say!("{}", serde_json::to_string(&summary)?),
            Output::Table => show!("{summary}"),
        }
        Ok(if summary.dropped.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn generation(&self) -> Generation {
        let duration = match (self.traces, self.duration) {
            (None, None) => Some(Duration::from_secs(10)),
            (_, duration) => duration,
        };
        Generation {
            shape: Shape {
                services: self.services.clone(),
                spans: self.spans.get(),
                spread: self.spread,
                errors: self.errors,
            },
            rate: self.rate,
            traces: self.traces,
            duration,
        }
    }
}

/// More than this of one trace fits into no message of a Collector.
const MOST_SPANS: u32 = 1_000;

fn spans(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .ok()
        .filter(|spans: &NonZeroU32| spans.get() <= MOST_SPANS)
        .ok_or_else(|| format!("must be a number from 1 to {MOST_SPANS}, not {text:?}"))
}

fn spread(text: &str) -> Result<Duration, String> {
    const MOST: Duration = Duration::from_secs(60);
    let spread = crate::cli::duration(text)?;
    if spread > MOST {
        return Err(format!("must be at most {MOST:?}, not {text:?}"));
    }
    Ok(spread)
}
