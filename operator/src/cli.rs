//! The command line.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube::Client;
use spoor_runtime::{
    SettingsReader, log_warnings, raise_descriptor_limit,
    self_tracing::{SelfTracing, SelfTracingSettings},
    shutdown_signal,
};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::{
    crds,
    kubernetes::connect,
    logs, policies,
    role::{RoleError, RunningRole},
    settings::{LogArguments, LogSettings, RoleSettings},
    stacks,
};

/// The number of the runtime's worker threads, enough for either role. Each costs a stack and an
/// arena of the allocator.
const WORKER_THREADS: usize = 2;

/// The most file descriptors: enough for 20,000 policy streams, each with its own connection.
const MAX_DESCRIPTORS: u64 = 1 << 16;

/// `service.name` of the spans of both roles, which `service.instance.id` distinguishes.
const SERVICE_NAME: &str = "spoor-operator";

/// Run Spoor's operator for tracing stacks and live sampling policies
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    log: LogArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create Jaeger and the Collector for each TracingStack
    Stacks(stacks::StacksArguments),
    /// Serve sampling policies to services, and report in each policy's status what took effect
    Policies(policies::PoliciesArguments),
    /// Print the CustomResourceDefinitions as YAML, or apply them
    Crds {
        #[command(subcommand)]
        command: Option<CrdsCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum CrdsCommand {
    /// Create or update the cluster's CustomResourceDefinitions by server-side apply
    Apply {
        /// Field manager that owns the definitions. Use "helm" for definitions that Helm also
        /// applies, so that the two do not conflict
        #[arg(long, value_name = "NAME", default_value = crds::FIELD_MANAGER)]
        field_manager: String,
        /// YAML files with definitions [default: this program's own]
        files: Vec<PathBuf>,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the error cannot be reported anywhere.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    raise_descriptor_limit(MAX_DESCRIPTORS)
        .context("cannot raise the limit of file descriptors")?;
    let mut reader = SettingsReader::default();
    let log = arguments.log.read(&mut reader);
    match arguments.command {
        Command::Stacks(role) => {
            let settings = role.read(&mut reader);
            run_role(reader, log, settings, |it| &it.role, stacks::start)
        }
        Command::Policies(role) => {
            let settings = role.read(&mut reader);
            let start = async |client, settings, stop| {
                Ok(policies::start(client, settings, stop).await?.role)
            };
            run_role(reader, log, settings, |it| &it.role, start)
        }
        Command::Crds { command: None } => {
            let yaml = crds::yaml()?;
            std::io::stdout()
                .write_all(yaml.as_bytes())
                .context("cannot write to standard output")
        }
        Command::Crds {
            command:
                Some(CrdsCommand::Apply {
                    field_manager,
                    files,
                }),
        } => {
            let log = reader.finish(log)?;
            logs::init(log, None);
            let definitions = crds::read(&files)?;
            run_until_signal(async |stop| {
                let client = connect().await?;
                let applying = crds::apply(client, &definitions, &field_manager);
                match stop.run_until_cancelled(applying).await {
                    Some(applied) => Ok(applied?),
                    None => anyhow::bail!("stopped before all definitions were applied"),
                }
            })
        }
    }
}

/// Runs a role with its log, and exports the spans of its own work.
fn run_role<S>(
    mut reader: SettingsReader,
    log: Option<LogSettings>,
    settings: Option<S>,
    role_settings: impl FnOnce(&S) -> &RoleSettings,
    start: impl AsyncFnOnce(Client, S, CancellationToken) -> Result<RunningRole, RoleError>,
) -> anyhow::Result<()> {
    let own_traces = SelfTracingSettings::from_env(SERVICE_NAME, &mut reader);
    let ((log, own_traces), settings) = reader.finish(log.zip(own_traces).zip(settings))?;
    let instance = role_settings(&settings).identity.clone();
    run_until_signal(async |stop| {
        let tracing = SelfTracing::start(&own_traces, &instance).context("cannot export spans")?;
        logs::init(log, tracing.as_ref());
        log_warnings(&own_traces.warnings);
        let running = async {
            let client = connect().await?;
            let role = start(client, settings, stop).await?;
            anyhow::Ok(role.finished().await?)
        };
        let result = running.await;
        if let Some(tracing) = tracing {
            tracing.shutdown().await;
        }
        result
    })
}

/// Runs `run` to its end. SIGTERM or Ctrl-C cancels its token.
fn run_until_signal(
    run: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let signal = shutdown_signal().context("cannot handle SIGINT and SIGTERM")?;
        let stopping = stop.clone();
        tokio::spawn(async move {
            signal.await;
            tracing::info!("received a signal; stopping");
            stopping.cancel();
        });
        run(stop).await
    })
}
