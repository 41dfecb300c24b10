//! Error output and exit codes of subcommands.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use spoor_runtime::with_causes;

use spoor_lab::Service;

use super::{client::ClientError, documents::ReadFilesError, out::errln, remedy::remedy};

/// Invalid input, one message for each error. Its exit code is 2, as for an invalid option.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(pub Vec<String>);

/// An invalid or missing option, or a conflict between options. Its exit code is also 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOption(pub String);

/// Prints an error on standard error. The exit code is 2 for invalid input and 1 otherwise.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    // One message for each error on its own line, as compilers do, so that editors and scripts can
    // split them.
    let messages = match (
        error.downcast_ref::<ClientError>(),
        error.downcast_ref::<Invalid>(),
    ) {
        (Some(ClientError::Invalid(messages)), _) | (_, Some(Invalid(messages))) => messages,
        _ => {
            let remedy = remedy(error).map(|it| format!("; {it}"));
            let remedy = remedy.unwrap_or_default();
            errln!("spoor: {}{remedy}", with_causes(error.as_ref()));
            return match is_invalid_input(error) {
                true => ExitCode::from(2),
                false => ExitCode::FAILURE,
            };
        }
    };
    for message in messages {
        errln!("{message}");
    }
    ExitCode::from(2)
}

/// Prints any error with exit code 2, for a command whose exit code 1 is a result.
pub fn or_exit_2(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let _always_2 = report(&error);
        ExitCode::from(2)
    })
}

fn is_invalid_input(error: &anyhow::Error) -> bool {
    // Exit code 2 lets scripts distinguish errors that a retry cannot fix.
    let is_too_large = matches!(
        error.downcast_ref::<ClientError>(),
        Some(ClientError::TooLarge(_))
    );
    is_too_large || error.is::<ReadFilesError>() || error.is::<InvalidOption>()
}

/// Prints an error of the command line, or the requested help.
#[must_use]
pub fn explain(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::InvalidSubcommand
        && std::env::args().nth(1).as_deref() == Some("run")
        && let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidSubcommand)
    {
        // clap's message does not list the services.
        let known = Service::ALL.map(Service::name).join(", ");
        errln!(
            "spoor: unknown service {unknown:?}; the services are {known}; `spoor run sampler` \
             runs a sampler"
        );
    } else {
        // If standard error itself is closed, there is nowhere to report that.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_files_are_invalid_input() {
        let unusable: [anyhow::Error; 2] = [
            ClientError::TooLarge(5_000_000).into(),
            ReadFilesError::NoPolicies("p.yaml".to_owned()).into(),
        ];
        assert!(unusable.iter().all(is_invalid_input));
        assert!(!is_invalid_input(
            &ClientError::Refused("busy".to_owned()).into()
        ));
    }

    #[test]
    fn repeated_causes_appear_once() {
        let error = anyhow::anyhow!("connection refused")
            .context("connect: connection refused")
            .context("request to the lab failed");
        assert_eq!(
            with_causes(error.as_ref()),
            "request to the lab failed: connect: connection refused"
        );
    }
}
