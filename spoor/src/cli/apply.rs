//! `spoor apply`: applies policies, all or none, and can wait until every instance has them.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde::Serialize;

use super::out::{errln, outln};
use super::{
    LabClient, NamespaceArgs, Output,
    documents::read_all,
    duration, exit_code,
    failure::InvalidOption,
    pluralize, print_json,
    target::{Applied, Target, TargetArgs},
};
use spoor_api::changes::Change;
use spoor_lab::wire::ConvergenceResult;

/// Apply policies from files, all or none
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor apply -f policy.yaml
  spoor apply -f policies/ --wait        until every instance has them
  spoor apply -f policy.yaml --context kind-spoor -n shop
  spoor override service-a 100% --for 15m -o yaml | spoor apply -f -")]
pub struct ApplyArgs {
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input; can be
    /// repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Options for waiting until a change is in force.
#[derive(Args, Clone, Copy, Debug)]
pub struct WaitArgs {
    /// Wait until every instance has acknowledged the change, and print how long it took
    #[arg(long)]
    wait: bool,
    /// Maximum time for --wait; more than 10m counts as 10m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(super) timeout: Duration,
}

/// The JSON output of a change.
#[derive(Serialize)]
struct ChangeOutput<T> {
    #[serde(flatten)]
    changed: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    convergence: Option<ConvergenceResult>,
}

impl ApplyArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let documents = read_all(&self.filenames)?;
        let namespace = self.namespace.namespace.as_ref();
        let target = self.target.open_for_documents(namespace).await?;
        let applied = target.apply(&documents).await?;
        if self.output == Output::Table {
            target.print_name();
            applied.policies.iter().for_each(print_change);
        }
        let convergence = self.wait.until_applied(&target, &applied).await?;
        print_result(self.output, applied, convergence, TAIL_ONLY)
    }
}

impl WaitArgs {
    /// Waits, with `--wait`, until these policies have converged. `None` without `--wait`.
    pub(super) async fn until_applied(
        self,
        target: &Target,
        applied: &Applied,
    ) -> anyhow::Result<Option<ConvergenceResult>> {
        if !self.wait {
            return Ok(None);
        }
        target.converged(applied, self.timeout).await.map(Some)
    }

    /// The client and the sequence of the lab's current version, to wait for a deletion. `None`
    /// without `--wait`.
    pub(super) async fn before_deletion(
        self,
        target: &Target,
    ) -> anyhow::Result<Option<(&LabClient, u64)>> {
        if !self.wait {
            return Ok(None);
        }
        let Target::Lab(client) = target else {
            let message = "--wait: an operator does not report when a deletion is in force; delete \
                           without it";
            return Err(InvalidOption(message.to_owned()).into());
        };
        let status = client.status().await?;
        Ok(Some((client, status.version.sequence)))
    }
}

/// Prints a change as JSON, and the convergence after it in either format. The exit code reports a
/// failure if the instances did not converge in time.
pub(super) fn print_result(
    output: Output,
    changed: impl Serialize,
    convergence: Option<ConvergenceResult>,
    without_instances: &str,
) -> anyhow::Result<ExitCode> {
    let converged = convergence.as_ref().is_none_or(|it| it.converged);
    match (output, convergence) {
        (Output::Json, convergence) => print_json(&ChangeOutput {
            changed,
            convergence,
        })?,
        (Output::Table, Some(it)) => print_convergence(&it, without_instances),
        (Output::Table, None) => {}
    }
    Ok(exit_code(converged))
}

pub(super) fn print_change(change: &Change) {
    let (name, action) = (&change.name, change.action);
    outln!("samplingpolicy.spoor.dev/{name} {action}");
    for warning in &change.warnings {
        // kubectl also prints warnings on standard error, after the object they concern.
        errln!("Warning: {name}: {warning}");
    }
}

/// Printed if applied policies converge without instances: a policy with only a tail has no clients
/// that acknowledge it.
pub(super) const TAIL_ONLY: &str = "the tail rules are in force";

fn print_convergence(convergence: &ConvergenceResult, without_instances: &str) {
    if !convergence.converged {
        errln!("Not converged:");
        for reason in &convergence.reasons {
            errln!("  {reason}");
        }
        for instance in &convergence.waiting {
            errln!("  not acknowledged by {instance}");
        }
        return;
    }
    let instances = pluralize(convergence.expected, "instance", "instances");
    match (convergence.milliseconds, convergence.expected) {
        (_, 0) => outln!("Converged: {without_instances}."),
        (Some(milliseconds), _) => outln!("Converged in {milliseconds:.1} ms ({instances})."),
        (None, _) => outln!("Converged: {instances} already up to date."),
    }
}
