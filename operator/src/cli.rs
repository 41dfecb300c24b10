//! The command line.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{
    crds,
    kubernetes::connect,
    logs, policies,
    settings::{LogArguments, Reader},
    stacks,
};

/// Enough for what either role does; each has stacks and an allocator's arena of its own.
const THREADS: usize = 2;

/// Spoor's operator: tracing stacks and live sampling policies
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
    /// Serve sampling policies to services, and say in their status what became of them
    Policies(policies::PoliciesArguments),
    /// Print the CustomResourceDefinitions as YAML
    Crds {
        #[command(subcommand)]
        command: Option<CrdsCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum CrdsCommand {
    /// Bring the cluster's CustomResourceDefinitions to this version by server-side apply
    Apply {
        /// Who owns them then; as Helm they don't conflict with those that it installs
        #[arg(long, value_name = "NAME", default_value = crds::FIELD_MANAGER)]
        field_manager: String,
        /// YAML files with definitions; this program's own if there are none
        files: Vec<PathBuf>,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if that is closed.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut reader = Reader::default();
    let log = arguments.log.read(&mut reader);
    match arguments.command {
        Command::Stacks(role) => {
            let settings = role.read(&mut reader);
            let ((filter, format), settings) = reader.finish(log.zip(settings))?;
            logs::init(filter, format);
            until_told_to_stop(async |stop| {
                let client = connect().await?;
                Ok(stacks::run(client, settings, stop).await?)
            })
        }
        Command::Policies(role) => {
            let settings = role.read(&mut reader);
            let ((filter, format), settings) = reader.finish(log.zip(settings))?;
            logs::init(filter, format);
            until_told_to_stop(async |stop| {
                let client = connect().await?;
                Ok(policies::run(client, settings, stop).await?)
            })
        }
        Command::Crds { command: None } => {
            let yaml = crds::yaml()?;
            std::io::stdout()
                .write_all(yaml.as_bytes())
                .context("can't write to standard output")
        }
        Command::Crds {
            command:
                Some(CrdsCommand::Apply {
                    field_manager,
                    files,
                }),
        } => {
            let (filter, format) = reader.finish(log)?;
            logs::init(filter, format);
            let definitions = crds::read(&files)?;
            until_told_to_stop(async |stop| {
                let client = connect().await?;
                match stop
                    .run_until_cancelled(crds::apply(client, &definitions, &field_manager))
                    .await
                {
                    Some(applied) => Ok(applied?),
                    None => anyhow::bail!("stopped before all definitions were applied"),
                }
            })
        }
    }
}

/// Runs something that stops at SIGTERM or Ctrl-C.
fn until_told_to_stop(
    run: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate()).context("can't hear SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("can't hear SIGINT")?;
        let told = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
            told.cancel();
        });
        run(stop).await
    })
}
