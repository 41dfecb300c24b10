//! `spoor completions`: the completion script of a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, out::out};

/// Print the completion script of a shell
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  spoor completions bash > ~/.local/share/bash-completion/completions/spoor
  spoor completions zsh > ~/.zfunc/_spoor          a folder that $fpath names
  spoor completions fish > ~/.config/fish/completions/spoor.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn execute(&self) -> anyhow::Result<ExitCode> {
        out!("{}", script(self.shell)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Generates a script in memory, since `clap_complete` panics if it cannot write, as to a closed
/// pipe.
fn script(shell: Shell) -> anyhow::Result<String> {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Cli::command(), "spoor", &mut script);
    Ok(String::from_utf8(script)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    fn scripts_complete_every_subcommand(
        #[values(Shell::Bash, Shell::Zsh, Shell::Fish)] shell: Shell,
    ) {
        let script = script(shell).unwrap();
        for subcommand in Cli::command().get_subcommands() {
            assert!(script.contains(subcommand.get_name()), "{subcommand}");
        }
    }
}
