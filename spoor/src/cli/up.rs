//! `spoor up`: runs the lab until a signal ends it.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use spoor_lab::{BindPortError, Endpoint, Lab, LabSettings, Service, StartLabError};
use spoor_policy::message::listed;
use spoor_runtime::{
    DEFAULT_LOG_FILTER, SettingsReader, log_warnings,
    self_tracing::{SelfTracing, SelfTracingSettings},
};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    LabClient,
    args::Output,
    failure::Invalid,
    lab_settings::LabSettingsArgs,
    out::{self, errln},
};
use crate::lessons::LabLessons;

/// The most log lines that wait to be written to the terminal.
const MAX_QUEUED_LINES: usize = 1_000;

/// Run the lab: services, control plane and trace pipeline
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor up
  spoor up --policies policies/            apply the files of a folder, and follow its changes
  spoor up --services service-a,service-b
  spoor up --any-ports --output json       for scripts: print all addresses as one line of JSON")]
pub struct UpArgs {
    /// Output format of the addresses
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: LabSettingsArgs,
}

impl UpArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let mut reader = SettingsReader::default();
        let settings = SelfTracingSettings::from_env(SERVICE, &mut reader);
        let settings = reader.finish(settings);
        let settings = settings.map_err(|error| Invalid(vec![error.to_string()]))?;
        let instance = uuid::Uuid::new_v4().to_string();
        let own_traces = SelfTracing::start(&settings, &instance).context("cannot export spans")?;
        let _guard = log_to_standard_error(own_traces.as_ref());
        log_warnings(&settings.warnings);
        let result = self.run().await;
        if let Some(own_traces) = own_traces {
            own_traces.shutdown().await;
        }
        result
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        // Before the start, so that Ctrl-C during it stops the children too.
        let shutdown_signal = spoor_runtime::shutdown_signal()?;
        tokio::pin!(shutdown_signal);
        let lessons = Arc::new(LabLessons::default());
        let settings = LabSettings {
            lessons: Some(lessons.clone()),
            ..self.settings.settings()?
        };
        let redis = settings.redis_url.as_ref().map(ToString::to_string);
        let tasks_store = redis.as_deref().unwrap_or("in-process");
        let admin = format!("http://127.0.0.1:{}", settings.ports.port(Endpoint::Admin));
        let running = LabClient::new(admin.parse()?);
        let started = Instant::now();
        let lab = tokio::select! {
            lab = Lab::start(settings) => match lab {
                // Usually another lab is still running and uses the port.
                Err(StartLabError::BindPort(BindPortError::InUse { .. })) if running.is_lab().await => {
                    bail!(
                        "a lab is already running at {admin}; stop it, or start another with \
                         --any-ports and a --data folder of its own"
                    )
                }
                lab => lab?,
            },
            // Dropping the future stops the children that it has started.
            () = &mut shutdown_signal => return Ok(ExitCode::SUCCESS),
        };
        lessons.connect(lab.urls());
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        match self.output {
            Output::Json => try_write_json(&json!({
                "event": "ready",
                "milliseconds": milliseconds,
                "urls": lab.urls(),
                // A Redis URL, or `in-process`.
                "tasks_store": tasks_store,
            })),
            // Not `outln!`, which ends the process if the reader is gone: `spoor up | head` still
            // runs the lab.
            Output::Table => {
                // Those of an earlier run, and those of the watched folder.
                let policies = lab.effective_policies();
                let summary = summary(lab.urls(), tasks_store, &policies, milliseconds);
                out::try_write(format_args!("{summary}"));
            }
        }
        shutdown_signal.await;
        errln!("Stopping: finishing the requests in progress.");
        // A second Ctrl-C skips the drain.
        let second_signal = spoor_runtime::shutdown_signal()?;
        let stopped = tokio::select! {
            stopped = lab.stop() => stopped,
            () = second_signal => {
                errln!("Stopped at once after a second signal; requests in progress are lost.");
                return Ok(ExitCode::FAILURE);
            }
        };
        match self.output {
            Output::Json => {
                let mut json = serde_json::to_value(&stopped)?;
                json["event"] = "stopped".into();
                try_write_json(&json);
            }
            Output::Table => out::try_write(format_args!("{stopped}\n")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The `service.name` of the spans that the lab records of its own work.
const SERVICE: &str = "spoor-lab";

/// The lab's own endpoints to list: their names, the paths to open (`None` for gRPC), and
/// descriptions.
const ENDPOINTS: [(&str, Option<&str>, &str); 6] = [
    ("traces", Some(""), "the console and Jaeger's query API"),
    ("otlp-http", Some(""), "OTLP over HTTP"),
    ("otlp-grpc", None, "OTLP over gRPC"),
    (
        "sampling-http",
        Some("/sampling?service=service-a"),
        "Jaeger's remote sampling over HTTP",
    ),
    (
        "sampling-grpc",
        None,
        "remote sampling and Spoor's policy stream over gRPC",
    ),
    (
        "admin",
        Some(""),
        "the lab's API, for `spoor apply` and other subcommands",
    ),
];

/// The most policies listed when the lab is ready.
const MAX_LISTED_POLICIES: usize = 5;

fn in_force(policies: &[String]) -> String {
    if policies.is_empty() {
        return String::new();
    }
    let listed = listed(policies, MAX_LISTED_POLICIES);
    format!("Policies in force: {listed}; see `spoor get policies`.\n")
}

fn summary(
    urls: &BTreeMap<String, String>,
    tasks_store: &str,
    policies: &[String],
    milliseconds: f64,
) -> String {
    let edges = Service::ALL.into_iter().filter_map(|service| {
        let (path, description) = service.page()?;
        Some((service.name(), Some(path), description))
    });
    let shown = |(name, path, description)| {
        let url = urls.get(name)?;
        let shown = match path {
            Some(path) => format!("{url}{path}"),
            None => url.trim_start_matches("http://").to_owned(),
        };
        Some((shown, description))
    };
    let endpoints: Vec<_> = edges.chain(ENDPOINTS).filter_map(shown).collect();
    let width = endpoints.iter().map(|(shown, _)| shown.len()).max();
    let width = width.unwrap_or_default();
    let lines = endpoints
        .iter()
        .map(|(shown, description)| format!("  {shown:<width$}  {description}\n"));
    let lines: String = lines.collect();
    let store = match tasks_store {
        _ if !urls.contains_key("tasks") => String::new(),
        "in-process" => "The tasks service keeps its list in memory; \
                         `spoor up --redis-url URL` keeps it in Redis.\n"
            .to_owned(),
        // Readiness does not include Redis, so this must not imply that it was checked.
        redis => format!(
            "The tasks service keeps its list in {redis}, and responds with 503 while that cannot \
             be reached.\n"
        ),
    };
    let policies = in_force(policies);
    format!(
        "The lab is ready ({milliseconds:.0} ms).\n{lines}{store}{policies}Press Ctrl-C to stop it.\n"
    )
}

/// Prints a line of JSON. The lab keeps running if standard output is closed.
fn try_write_json(value: &Value) {
    out::try_write(format_args!("{value}\n"));
}

/// Starts the log. Its last lines are written when the guard is dropped.
fn log_to_standard_error(own_traces: Option<&SelfTracing>) -> WorkerGuard {
    // On a separate thread, since a paused terminal must not block the listeners. Lines beyond the
    // limit are dropped.
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(MAX_QUEUED_LINES)
        .finish(std::io::stderr());
    let level = EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG_FILTER.into());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        // The services of a lab have names; module paths only make the lines longer.
        .with_target(false)
        .compact()
        // Filters this layer only, so that the log level does not affect the spans of self-tracing;
        // and excludes spans, so that its lines are the same with and without self-tracing.
        .with_filter(level.and(filter_fn(|metadata| !metadata.is_span())));
    let subscriber = tracing_subscriber::registry()
        .with(own_traces.map(SelfTracing::layer))
        .with(lines);
    if let Err(error) = subscriber.try_init() {
        errln!("spoor: cannot set up logging: {error}");
    }
    guard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_message_lists_few_policies() {
        let names = |count: usize| (1..=count).map(|it| format!("p{it}")).collect::<Vec<_>>();
        assert_eq!(in_force(&[]), "");
        let few = "Policies in force: p1, p2; see `spoor get policies`.\n";
        assert_eq!(in_force(&names(2)), few);
        let many = "Policies in force: p1, p2, p3, p4, p5 and 2 more; see `spoor get policies`.\n";
        assert_eq!(in_force(&names(7)), many);
    }
}
