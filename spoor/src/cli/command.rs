//! The command line: its subcommands, and what runs each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{
    apply::ApplyArgs, delete::DeleteArgs, describe::DescribeArgs, diff::DiffArgs, fault::FaultArgs,
    get::GetArgs, overrule::OverrideArgs, run::RunService, up::UpArgs,
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
  spoor lesson                               list the lessons, whose results can be checked"
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Up(Box<UpArgs>),
    #[command(subcommand)]
    Run(Box<RunService>),
    Apply(ApplyArgs),
    Delete(DeleteArgs),
    Get(GetArgs),
    Describe(DescribeArgs),
    Diff(DiffArgs),
    Override(OverrideArgs),
    Fault(FaultArgs),
    Load(LoadArgs),
    Probe(ProbeArgs),
    Generate(GenerateArgs),
    Traces(TracesArgs),
    Trace(TraceArgs),
    Demo(Box<DemoArgs>),
    Lesson(LessonArgs),
    Check(CheckArgs),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// The subcommand's error, which [`report`](super::report) prints.
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
