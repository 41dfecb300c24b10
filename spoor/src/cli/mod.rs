//! The command's verbs.

mod apply;
mod client;
mod delete;
mod describe;
mod diff;
mod documents;
mod duration;
mod failure;
mod fault;
mod get;
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
pub use failure::{Invalid, explain, in_a_line, report};
pub use signals::{cancelled_when_told, told_to_end};
pub use table::Table;

/// See which requests are traced, change it while everything runs, and get proof that it
/// happened
#[derive(Parser, Debug)]
#[command(
    name = "spoor",
    version,
    after_help = "Examples:
  spoor demo                                 a tour that ends
  spoor up                                   start the lab: services, traces, policies
  curl http://127.0.0.1:8080/                a request from service-a to service-b
  spoor apply -f k8s/samples/policies/service-a-1-percent.yaml --wait
                                             change what is traced, and wait until it is so
  spoor get policies                         what holds, and what is observed
  spoor override service-a 100% --for 15m    trace everything for a while
  spoor lesson                               learn by doing, and have it checked"
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
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
    Generate(crate::generate::GenerateArgs),
    Traces(crate::traces::TracesArgs),
    Trace(crate::traces::TraceArgs),
    Demo(Box<crate::demo::DemoArgs>),
    Lesson(crate::lessons::LessonArgs),
    Check(crate::lessons::CheckArgs),
}

/// How a verb prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For scripts.
    Json,
}

/// Which lab a verb speaks to.
#[derive(clap::Args, Clone, Debug)]
pub struct LabArgs {
    /// The lab's API
    #[arg(
        long,
        env = "SPOOR_LAB",
        value_name = "URL",
        default_value = "http://127.0.0.1:16600",
        value_parser = client::lab_address
    )]
    lab: Url,
}

/// Whose policies a verb is about.
#[derive(clap::Args, Clone, Debug)]
struct NamespaceArgs {
    /// The policies' namespace; the lab's own services are in `default`
    #[arg(short, long, default_value = "default")]
    namespace: Namespace,
}

impl Cli {
    /// Does what is asked.
    ///
    /// # Errors
    /// Whatever the verb can't do; [`report`] prints it.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Up(args) => args.execute().await,
            Verb::Run(service) => service.execute().await,
            Verb::Apply(args) => args.execute().await,
            Verb::Delete(args) => args.execute().await,
            Verb::Get(args) => args.execute().await,
            Verb::Describe(args) => args.execute().await,
            Verb::Diff(args) => args.execute().await,
            Verb::Override(args) => args.execute().await,
            Verb::Fault(args) => args.execute().await,
            Verb::Load(args) => args.execute().await,
            Verb::Probe(args) => args.execute().await,
            Verb::Generate(args) => args.execute().await,
            Verb::Traces(args) => args.execute().await,
            Verb::Trace(args) => args.execute().await,
            Verb::Demo(args) => args.execute().await,
            Verb::Lesson(args) => args.execute().await,
            Verb::Check(args) => args.execute().await,
        }
    }
}

impl LabArgs {
    /// Speaks to that lab.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.lab.clone())
    }
}

/// Prints a value for scripts: one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    say!("{}", serde_json::to_string(value)?);
    Ok(())
}
