//! Advice on errors of the lab, of load and of queries. The libraries that define these errors do not know the
//! options and subcommands that help.

use spoor_lab::{BindPortError, DataFolderError, StartLabError};
use spoor_load::DriveError;
use spoor_traces::client::QueryError;

use super::ports::{option, variable};

/// The advice for an error that an option or a subcommand can fix.
pub(super) fn remedy(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let of_lab = cause.downcast_ref().and_then(for_lab);
        let of_load = || cause.downcast_ref().and_then(for_load);
        let of_query = || cause.downcast_ref().and_then(for_query);
        of_lab.or_else(of_load).or_else(of_query)
    })
}

fn for_lab(error: &StartLabError) -> Option<String> {
    let advice = match error {
        StartLabError::BindPort(BindPortError::InUse { endpoint, .. }) => {
            return Some(format!(
                "stop the process that listens there, choose another port with --{} or {} (0: any \
                 free port), or use free ports for all endpoints with --any-ports",
                option(*endpoint),
                variable(*endpoint)
            ));
        }
        StartLabError::BindPort(BindPortError::Listen { endpoint, .. }) => {
            return Some(format!("choose another port with --{}", option(*endpoint)));
        }
        StartLabError::OpenDataFolder(DataFolderError::FindHome) => {
            "set --data, XDG_STATE_HOME or HOME"
        }
        StartLabError::OpenDataFolder(DataFolderError::Create(..) | DataFolderError::Write(..)) => {
            "choose another with --data"
        }
        StartLabError::OpenDataFolder(DataFolderError::Lock(_)) => {
            "stop it, or choose another folder with --data"
        }
        StartLabError::OpenDataFolder(DataFolderError::AwaitServices(_)) => {
            "end them, or choose another folder with --data"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

fn for_load(error: &DriveError) -> Option<String> {
    matches!(error, DriveError::Connect { .. })
        .then(|| "start the lab with `spoor up`, or check the address".to_owned())
}

fn for_query(error: &QueryError) -> Option<String> {
    let advice = match error {
        QueryError::NotRunning(_) => {
            "start a lab with `spoor up`, or give another address with --traces-url"
        }
        QueryError::NotQueryApi(_) => "give the address of one with --traces-url",
        QueryError::TooLarge(_) => {
            "search for fewer traces with --limit, or for newer ones with --lookback"
        }
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Error;
    use spoor_lab::{Endpoint, Service};

    use super::*;

    #[test]
    fn used_port_names_its_option_and_variable() {
        let (port, endpoint) = (9474, Endpoint::Ops(Service::Tasks));
        let error = StartLabError::from(BindPortError::InUse { port, endpoint });
        let advice = remedy(&Error::new(error)).unwrap_or_default();
        for setting in ["--port-tasks-ops", "SPOOR_PORT_TASKS_OPS"] {
            assert!(advice.contains(setting), "{advice}");
        }
    }

    #[test]
    fn advice_is_found_below_other_errors() {
        let path = PathBuf::from("/nonexistent");
        let error = StartLabError::from(DataFolderError::Lock(path));
        let error = Error::new(error).context("the tour did not start");
        let advice = remedy(&error).unwrap_or_default();
        assert!(advice.contains("--data"), "{advice}");
    }
}
