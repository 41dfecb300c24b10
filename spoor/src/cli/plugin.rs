//! The command as a kubectl plugin: `kubectl spoor` runs the program `kubectl-spoor`.

use std::{env, path::Path};

use clap::{CommandFactory, FromArgMatches};

use super::Cli;

/// The name of the plugin's program.
const PROGRAM: &str = "kubectl-spoor";

/// Parses the command line.
///
/// # Errors
/// The error to print, or the requested help.
pub fn parse() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    if is_kubectl_plugin() {
        command = command.bin_name(program_name());
    }
    let mut matches = command.clone().try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Returns whether this program was started as a kubectl plugin.
pub(super) fn is_kubectl_plugin() -> bool {
    env::args_os()
        .next()
        .is_some_and(|it| is_plugin(Path::new(&it)))
}

/// The command in suggestions.
pub(super) fn program_name() -> &'static str {
    match is_kubectl_plugin() {
        true => "kubectl spoor",
        false => "spoor",
    }
}

fn is_plugin(program: &Path) -> bool {
    program.file_stem().is_some_and(|name| name == PROGRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("kubectl-spoor", true)]
    #[case("/home/me/.krew/bin/kubectl-spoor", true)]
    #[case("./spoor", false)]
    #[case("kubectl", false)]
    fn plugin_is_known_by_its_name(#[case] program: &str, #[case] expected: bool) {
        assert_eq!(is_plugin(Path::new(program)), expected);
    }

    #[test]
    fn help_of_the_plugin_names_kubectl() {
        let mut command = Cli::command().bin_name("kubectl spoor");
        let usage = command.render_usage().to_string();
        assert!(usage.contains("kubectl spoor"), "{usage}");
    }
}
