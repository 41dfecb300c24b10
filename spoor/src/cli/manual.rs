//! `spoor manual`: the manual pages.

use std::{fs, io, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};

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
        self.write()
            .with_context(|| format!("cannot write the manual pages to {folder}"))?;
        outln!("Wrote the manual pages to {folder}.");
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self) -> io::Result<()> {
        let command = Cli::command();
        clap_mangen::generate_to(command.clone(), &self.folder)?;
        self.correct(command.get_name(), &command)
    }

    /// Corrects the pages of a command and of those below it.
    fn correct(&self, name: &str, command: &Command) -> io::Result<()> {
        let path = self.folder.join(format!("{name}.1"));
        let page = fs::read_to_string(&path)?;
        fs::write(&path, corrected(page, command))?;
        let mut subcommands = command.get_subcommands().filter(|it| !it.is_hide_set());
        subcommands.try_for_each(|it| self.correct(&format!("{name}-{}", it.get_name()), it))
    }
}

/// Gives the sections the names that man pages use, and adds the values of options to the synopsis.
/// `clap_mangen` puts the text after the options into one section EXTRA, formatted as prose, and
/// omits the values.
fn corrected(page: String, command: &Command) -> String {
    let page = page
        .replacen(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n.nf\n", 1)
        .replacen("\n\nExits with ", "\n.fi\n.SH EXIT STATUS\nExits with ", 1);
    let with_value = command
        .get_arguments()
        .filter(|it| it.get_action().takes_values());
    with_value.fold(page, |page, argument| {
        let (Some(long), Some([value, ..])) = (argument.get_long(), argument.get_value_names())
        else {
            return page;
        };
        let option = format!(r"\-\-{}\fR", long.replace('-', r"\-"));
        // The synopsis precedes the list of options, which has the values.
        page.replacen(&option, &format!(r"{option} \fI<{value}>\fR"), 1)
    })
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
        let check = std::fs::read_to_string(folder.join("spoor-check.1")).unwrap();
        for part in [
            ".SH EXAMPLES\n.nf\n",
            ".SH EXIT STATUS\nExits with 0",
            r"[\fB\-\-traces\-url\fR \fI<URL>\fR]",
            r"[\fB\-o\fR|\fB\-\-output\fR \fI<OUTPUT>\fR]",
        ] {
            assert!(check.contains(part), "{part}");
        }
        for page in std::fs::read_dir(folder).unwrap() {
            let page = std::fs::read_to_string(page.unwrap().path()).unwrap();
            assert!(!page.contains(".SH EXTRA"), "{page}");
        }
    }
}
