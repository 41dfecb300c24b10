//! `spoor up`: the lab, until it is told to end.

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use clap::Args;
use serde::Serialize;

use super::{
    Output,
    out::{self, say_error},
    signals,
};
use crate::lab::{Lab, Settings, Stopped};

/// Start the lab: services, control plane and trace pipeline
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor up
  spoor up --policies policies/            a folder whose policies hold while they are there
  spoor up --services service-a,service-b
  spoor up --any-ports --output json       for scripts: one line with all addresses")]
pub struct UpArgs {
    /// How to print where everything is
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    settings: Settings,
}

/// What is printed for scripts when all is ready.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    milliseconds: f64,
    urls: &'a BTreeMap<String, String>,
    /// Where tasks keeps its tasks: a Redis, or `in-process`.
    tasks_store: &'a str,
}

/// What is printed for scripts when all has ended.
#[derive(Serialize)]
struct Ended {
    event: &'static str,
    #[serde(flatten)]
    stopped: Stopped,
}

impl UpArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        log_to_standard_error();
        let told_to_end = signals::told_to_end()?;
        tokio::pin!(told_to_end);
        let redis = self.settings.redis_url.as_ref().map(ToString::to_string);
        let tasks_store = redis.as_deref().unwrap_or("in-process");
        let started = Instant::now();
        let lab = tokio::select! {
            lab = Lab::start(self.settings) => lab?,
            () = &mut told_to_end => return Ok(ExitCode::SUCCESS),
        };
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        match self.output {
            Output::Json => offer_json(&Ready {
                event: "ready",
                milliseconds,
                urls: lab.urls(),
                tasks_store,
            })?,
            Output::Table => out::offer(format_args!(
                "{}",
                in_words(lab.urls(), tasks_store, milliseconds)
            )),
        }
        told_to_end.await;
        say_error!("Stopping: no new requests, those accepted are answered.");
        let told_again = signals::told_to_end()?;
        let stopped = tokio::select! {
            stopped = lab.stop() => stopped,
            () = told_again => {
                say_error!("Stopped at once, as told again: what was under way is lost.");
                return Ok(ExitCode::FAILURE);
            }
        };
        match self.output {
            Output::Json => offer_json(&Ended {
                event: "stopped",
                stopped,
            })?,
            Output::Table => out::offer(format_args!("{stopped}\n")),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Each door's name, the path to open there (none: it speaks gRPC), and what it is.
const DOORS: [(&str, Option<&str>, &str); 11] = [
    (
        "service-a",
        Some(""),
        "a request through service-a and service-b",
    ),
    ("gateway", Some(""), "the wishlist; /docs: what is running"),
    (
        "bands",
        Some("/bands"),
        "bands; /bands/UUID: one, with its reviews",
    ),
    ("tasks", Some("/tasks"), "a task manager"),
    ("preprocessing", Some(""), "pictures to be classified"),
    ("traces", Some(""), "traces: page and Jaeger's query API"),
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
        "the same over gRPC, and Spoor's stream",
    ),
    (
        "admin",
        Some(""),
        "the lab's API, for `spoor apply` and its like",
    ),
];

fn in_words(urls: &BTreeMap<String, String>, tasks_store: &str, milliseconds: f64) -> String {
    let doors = DOORS.iter().filter_map(|(name, path, what)| {
        let url = urls.get(*name)?;
        let shown = match path {
            Some(path) => format!("{url}{path}"),
            None => url.trim_start_matches("http://").to_owned(),
        };
        Some((shown, what))
    });
    let doors: Vec<_> = doors.collect();
    let width = doors.iter().map(|(shown, _)| shown.len()).max();
    let width = width.unwrap_or_default();
    let lines = doors
        .iter()
        .map(|(shown, what)| format!("  {shown:<width$}  {what}\n"));
    let lines: String = lines.collect();
    let kept = match tasks_store {
        _ if !urls.contains_key("tasks") => String::new(),
        "in-process" => "The tasks are kept in their process and end with it; \
                         SPOOR_REDIS_URL keeps them in a Redis.\n"
            .to_owned(),
        redis => format!("The tasks are kept in {redis}.\n"),
    };
    format!("The lab is ready ({milliseconds:.0} ms).\n{lines}{kept}Ctrl-C ends it.\n")
}

/// A lab goes on when nobody reads what it says.
fn offer_json(value: &impl Serialize) -> serde_json::Result<()> {
    out::offer(format_args!("{}\n", serde_json::to_string(value)?));
    Ok(())
}

fn log_to_standard_error() {
    let level = tracing_subscriber::EnvFilter::try_from_default_env();
    let format = tracing_subscriber::fmt()
        .with_env_filter(level.unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .compact();
    if let Err(error) = format.try_init() {
        say_error!("spoor: logs stay off: {error}");
    }
}
