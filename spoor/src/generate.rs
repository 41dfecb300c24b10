//! `spoor generate`: sends traces of a known shape over OTLP and reports what was sent, so that
//! what arrives can be compared with it.

mod send;
mod shape;
mod summary;

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use spoor_policy::{Probability, ServiceName};
use spoor_telemetry::TelemetrySettings;

use crate::cli::out::{out, outln};
use crate::cli::{Invalid, Output, exit_code, positive_number, whole_number};

/// The time during which traces are started, unless a duration or a number of traces is given.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// The most spans in a trace, so that a Collector can forward it in one message.
const MAX_SPANS: u32 = 1_000;

/// Send traces of a known shape over OTLP, and report what was sent
///
/// OTEL_EXPORTER_OTLP_ENDPOINT and the other OTLP variables name the receiver, as for every
/// service. Spans are batched, sent and retried like those of a service whose head samples 100 %.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor generate                           50 traces per second for 10 s
  spoor generate --service shop --service till --spans 8 --spread 1500ms --errors 5%
                                           traces that start at two services in turn, each with
                                           spans of both; one in twenty has an error
  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317 spoor generate --traces 1000 --output json
  spoor generate --spread 12s --errors 5% --error-in last-span --trace-ids --output json
                                           traces of 12 s whose error is known only at their end,
                                           listed by ID

Exits with 1 if any span was dropped.")]
pub struct GenerateArgs {
    /// The service.name of the spans; if repeated, traces start at each service in turn, and the
    /// spans of a trace rotate through all of them
    #[arg(long = "service", value_name = "NAME", default_value = "generated")]
    services: Vec<ServiceName>,
    /// Traces per second, at most 2000
    #[arg(long, default_value_t = 50, value_parser = whole_number::<u32>(1..=2_000, 50))]
    rate: u32,
    /// Number of traces [default: --rate times --duration]
    #[arg(long, value_parser = positive_number)]
    traces: Option<u64>,
    /// Time during which traces are started [default: 10s, unless --traces is given]
    #[arg(long, value_parser = crate::cli::positive_duration)]
    duration: Option<Duration>,
    /// Spans in each trace
    #[arg(long, default_value_t = 4, value_parser = whole_number(1..=MAX_SPANS, 4))]
    spans: u32,
    /// Duration of each trace; its spans end one after the other
    #[arg(long, default_value = "1s", value_parser = spread)]
    spread: Duration,
    /// Share of the traces with an error
    #[arg(long, default_value = "0%")]
    errors: Probability,
    /// Span that has the error of a trace
    #[arg(long, value_enum, default_value_t)]
    error_in: ErrorIn,
    /// List the IDs of the traces with an error, and of those without, in the summary's JSON
    #[arg(long)]
    trace_ids: bool,
    /// Time to export the last spans; should be longer than a rollout of the receiver
    #[arg(long, default_value = "2m", value_parser = crate::cli::duration)]
    grace: Duration,
    /// Output format of the summary
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The span that has the error of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ErrorIn {
    /// Any span, chosen at random
    #[default]
    AnySpan,
    /// The span that ends last: the root
    LastSpan,
}

impl GenerateArgs {
    /// Sends the traces and prints the summary. After Ctrl-C no more traces start, and those in
    /// progress end.
    ///
    /// # Errors
    /// Invalid settings, or an exporter that cannot be built.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let settings = TelemetrySettings::from_env()
            .map_err(|errors| Invalid(errors.0.iter().map(ToString::to_string).collect()))?;
        let stop = spoor_runtime::cancel_on_shutdown_signal()?;
        let summary = send::send(&self, &settings, stop).await?;
        match self.output {
            Output::Json => outln!("{}", serde_json::to_string(&summary)?),
            Output::Table => out!("{summary}"),
        }
        Ok(exit_code(summary.dropped.is_empty()))
    }
}

fn spread(text: &str) -> Result<Duration, String> {
    const MAX_SPREAD: Duration = Duration::from_secs(60);
    let spread = crate::cli::duration(text)?;
    if spread > MAX_SPREAD {
        return Err(format!("must be at most {MAX_SPREAD:?}, not {text:?}"));
    }
    Ok(spread)
}
