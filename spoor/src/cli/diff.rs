//! `spoor diff`: the changes that applying files would make.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::out::{errln, out, outln};
use super::{
    NamespaceArgs, Output,
    documents::read_all,
    exit_code, print_json,
    table::{TextTable, or_all_others},
    target::TargetArgs,
};
use spoor_api::changes::{Comparison, Difference, PlaceSetting};

/// Show what applying files would change, without applying them
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor diff -f policy.yaml
  spoor diff -f policies/ -o json
  spoor diff -f policy.yaml --context kind-spoor -n shop

Exits with 0 if nothing would change, with 1 if something would, and with 2 after an error.")]
pub struct DiffArgs {
    /// A file, a folder (its .yaml, .yml and .json files), or - for standard input; can be
    /// repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    target: TargetArgs,
}

impl DiffArgs {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let documents = read_all(&self.filenames)?;
        let namespace = self.namespace.namespace.as_ref();
        let target = self.target.open_for_documents(namespace).await?;
        let Comparison {
            differences,
            warnings,
        } = target.diff(&documents).await?;
        if self.output == Output::Table {
            target.print_name();
        }
        for (policy, warnings) in &warnings {
            for warning in warnings {
                errln!("Warning: {policy}: {warning}");
            }
        }
        match self.output {
            Output::Json => print_json(&differences)?,
            Output::Table if differences.is_empty() => outln!("No differences."),
            Output::Table => out!("{}", table(&differences)),
        }
        // The exit codes of `diff` and `kubectl diff`.
        Ok(exit_code(differences.is_empty()))
    }
}

fn table(differences: &[Difference]) -> TextTable {
    let mut table = TextTable::new(&["SERVICE", "OPERATION", "PART", "BEFORE", "AFTER"]);
    for difference in differences {
        table.row([
            or_all_others(difference.service.as_ref()),
            or_all_others(difference.operation.as_ref()),
            difference.part.clone(),
            cell(difference.before.as_ref()),
            cell(difference.after.as_ref()),
        ]);
    }
    table
}

fn cell(setting: Option<&PlaceSetting>) -> String {
    setting.map_or_else(
        || "(no policy)".to_owned(),
        |PlaceSetting { policy, setting }| format!("{setting} ({policy})"),
    )
}
