//! How a verb that fails ends: what it says, and its exit code.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{client::ClientError, documents::ReadFilesError, out::say_error};
use crate::load::LoadError;
use crate::service::Service;

/// What was asked for can't be right: exit code 2, as for a wrong option.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(pub Vec<String>);

/// Prints why, on standard error; the exit code is 2 for wrong input and 1 for all else.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    let faults = match (
        error.downcast_ref::<ClientError>(),
        error.downcast_ref::<Invalid>(),
    ) {
        (Some(ClientError::Invalid(faults)), _) | (_, Some(Invalid(faults))) => faults,
        _ => {
            say_error!("spoor: {}", in_a_line(error));
            return if is_wrong_input(error) {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            };
        }
    };
    for fault in faults {
        say_error!("{fault}");
    }
    ExitCode::from(2)
}

fn is_wrong_input(error: &anyhow::Error) -> bool {
    error.is::<ReadFilesError>()
        || matches!(
            error.downcast_ref(),
            Some(LoadError::Address(_) | LoadError::Path { .. } | LoadError::Options(_))
        )
}

/// Prints what is wrong with the command line, or the help that was asked for.
#[must_use]
pub fn explain(error: &clap::Error) -> ExitCode {
    let unknown = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) if error.kind() == ErrorKind::InvalidSubcommand => name,
        _ => {
            // Nobody is left to tell when the terminal itself is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if std::env::args().nth(1).as_deref() == Some("run") {
        let known = Service::ALL.map(Service::name).join(", ");
        say_error!("spoor: no service {unknown:?}: there are {known}");
    } else {
        let _ = error.print();
    }
    ExitCode::from(2)
}

/// The error and its causes; a cause that is quoted already is not said twice.
#[must_use]
pub fn in_a_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_cause_once() {
        let error = anyhow::anyhow!("connection refused")
            .context("connect: connection refused")
            .context("can't ask the lab");
        assert_eq!(
            in_a_line(&error),
            "can't ask the lab: connect: connection refused"
        );
    }
}
