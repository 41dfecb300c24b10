//! The subcommands.

mod apply;
mod client;
mod completions;
mod delete;
mod describe;
mod diff;
mod documents;
mod duration;
mod failure;
mod fault;
mod get;
mod manual;
pub(crate) mod out;
mod overrule;
mod policy_row;
mod run;
mod signals;
mod table;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use reqwest::Url;
use spoor_policy::Namespace;

use out::say;

pub use client::{Client, ClientError};
pub use duration::{age, duration, positive_duration};
pub use failure::{Invalid, explain, one_line, report};
pub use signals::{cancel_on_shutdown_signal, shutdown_signal};
pub use table::Table;

/// See which requests are traced, change that while the services run, and verify the effect
#[derive(Parser, Debug)]
#[command(
    name = "spoor",
    version,
    after_help = "Examples:
  spoor demo                                 take a short tour
  spoor up                                   start the lab: services, traces, policies
  curl http://127.0.0.1:8080/                send a request from service-a to service-b
  spoor apply -f k8s/samples/policies/service-a-1-percent.yaml --wait
                                             change what is traced, and wait until it is in force
  spoor get policies                         list the policies and what is observed
  spoor override service-a 100% --for 15m    trace everything for a while
  spoor lesson                               list the lessons, whose results can be checked"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Up(Box<up::UpArgs>),
    #[command(subcommand)]
    Run(Box<run::RunService>),
    Apply(apply::ApplyArgs),
    Delete(delete::DeleteArgs),
    Get(get::GetArgs),
    Describe(describe::DescribeArgs),
    Diff(diff::DiffArgs),
    Override(overrule::OverrideArgs),
    Fault(fault::FaultArgs),
    Load(crate::load::LoadArgs),
    Probe(crate::probe::ProbeArgs),
    Traces(crate::traces::TracesArgs),
    Trace(crate::traces::TraceArgs),
    Demo(Box<crate::demo::DemoArgs>),
    Lesson(crate::lessons::LessonArgs),
    Check(crate::lessons::CheckArgs),
    Completions(completions::CompletionsArgs),
    Manual(manual::ManualArgs),
}

/// The output format of a subcommand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Text
    #[default]
    Table,
    /// JSON
    Json,
}

/// The lab that a subcommand connects to.
#[derive(clap::Args, Clone, Debug)]
pub struct LabArgs {
    /// The address of the lab's API
    #[arg(
        long,
        env = "SPOOR_LAB",
        value_name = "URL",
        default_value = "http://127.0.0.1:16600",
        value_parser = client::lab_address
    )]
    lab: Url,
}

/// The namespace that a subcommand acts in.
#[derive(clap::Args, Clone, Debug)]
struct NamespaceArgs {
    /// The namespace of the policies; the lab's own services are in `default`
    #[arg(short, long, default_value = "default")]
    namespace: Namespace,
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The subcommand's error, which [`report`] prints.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(args) => args.execute().await,
            Command::Run(service) => service.execute().await,
            Command::Apply(args) => args.execute().await,
            Command::Delete(args) => args.execute().await,
            Command::Get(args) => args.execute().await,
            Command::Describe(args) => args.execute().await,
            Command::Diff(args) => args.execute().await,
            Command::Override(args) => args.execute().await,
            Command::Fault(args) => args.execute().await,
            Command::Load(args) => args.execute().await,
            Command::Probe(args) => args.execute().await,
            Command::Traces(args) => args.execute().await,
            Command::Trace(args) => args.execute().await,
            Command::Demo(args) => args.execute().await,
            Command::Lesson(args) => args.execute().await,
            Command::Check(args) => args.execute().await,
            Command::Completions(args) => args.execute(),
            Command::Manual(args) => args.execute(),
        }
    }
}

impl LabArgs {
    /// Creates a client of that lab.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.lab.clone())
    }
}

/// A number with its noun, such as `1 policy` or `2 policies`.
#[must_use]
pub fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string(value)?);
    Ok(())
}
