//! The command line: its subcommands, and the code that runs each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{
    apply::ApplyArgs, completions::CompletionsArgs, console::ConsoleArgs, delete::DeleteArgs,
    describe::DescribeArgs, diff::DiffArgs, failure::or_exit_2, fault::FaultArgs, get::GetArgs,
    manual::ManualArgs, override_policy::OverrideArgs, run::RunService, up::UpArgs,
};
use crate::{
    demo::DemoArgs,
    generate::GenerateArgs,
    lessons::{CheckArgs, LessonArgs},
    load::LoadArgs,
    probe::ProbeArgs,
    traces::{TraceArgs, TracesArgs},
};

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
  spoor console                              show and change a cluster's policies in the browser
  spoor lesson                               list the lessons, whose results can be checked"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    // Boxed, like others with many options: every value of an enum takes the size of the largest.
    Up(Box<UpArgs>),
    #[command(subcommand)]
    Run(Box<RunService>),
    Apply(ApplyArgs),
    Delete(DeleteArgs),
    Get(GetArgs),
    Describe(DescribeArgs),
    Diff(DiffArgs),
    Override(OverrideArgs),
    Console(ConsoleArgs),
    Fault(FaultArgs),
    Load(LoadArgs),
    Probe(ProbeArgs),
    Generate(GenerateArgs),
    Traces(TracesArgs),
    Trace(TraceArgs),
    Demo(Box<DemoArgs>),
    Lesson(LessonArgs),
    Check(CheckArgs),
    Completions(CompletionsArgs),
    Manual(ManualArgs),
}

impl Cli {
    /// Returns whether the subcommand runs a lab in this process.
    pub fn starts_a_lab(&self) -> bool {
        matches!(self.command, Command::Up(_) | Command::Demo(_))
    }

    /// Runs the subcommand.
    ///
    /// # Errors
    /// The subcommand's error, which [`report`](super::report) prints.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Up(args) => args.execute().await,
            Command::Run(service) => service.execute().await,
            Command::Apply(args) => args.execute().await,
            Command::Delete(args) => args.execute().await,
            Command::Get(args) => args.execute().await,
            Command::Describe(args) => args.execute().await,
            Command::Diff(args) => Ok(or_exit_2(args.execute().await)),
            Command::Override(args) => args.execute().await,
            Command::Console(args) => args.execute().await,
            Command::Fault(args) => args.execute().await,
            Command::Load(args) => args.execute().await,
            Command::Probe(args) => args.execute().await,
            Command::Generate(args) => args.execute().await,
            Command::Traces(args) => args.execute().await,
            Command::Trace(args) => args.execute().await,
            Command::Demo(args) => args.execute().await,
            Command::Lesson(args) => args.execute().await,
            Command::Check(args) => Ok(or_exit_2(args.execute().await)),
            Command::Completions(args) => args.execute(),
            Command::Manual(args) => args.execute(),
        }
    }
}
