//! `spoor manual`: the manual pages.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, CommandFactory};

use super::{Cli, out::outln};

/// Write the manual pages of all subcommands to a folder
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor manual ~/.local/share/man/man1
  man spoor-apply")]
pub struct ManualArgs {
    /// The folder, which is created if missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl ManualArgs {
    pub(super) fn execute(&self) -> anyhow::Result<ExitCode> {
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot create {folder}"))?;
        clap_mangen::generate_to(Cli::command(), &self.folder)
            .with_context(|| format!("cannot write the manual pages to {folder}"))?;
        outln!("Wrote the manual pages to {folder}.");
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_subcommand_gets_a_page() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("man1");
        let arguments = ManualArgs {
            folder: folder.clone(),
        };
        arguments.execute().unwrap();
        for subcommand in Cli::command().get_subcommands() {
            let page = folder.join(format!("spoor-{}.1", subcommand.get_name()));
            assert!(page.is_file(), "{}", page.display());
        }
    }
}
