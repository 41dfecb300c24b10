//! The options for the lab's ports.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use spoor_lab::{Endpoint, LabPorts};

const ANY: &str = "any-ports";

/// The ports of the lab, as options. Each has one such as `--port-service-a`, and a variable such
/// as `SPOOR_PORT_SERVICE_A`. They are built from the list of endpoints and not derived, so that a
/// new service has its options without further code.
#[derive(Clone, Debug)]
pub struct PortArgs(pub LabPorts);

impl Args for PortArgs {
    fn augment_args(command: Command) -> Command {
        let any = Arg::new(ANY)
            .long(ANY)
            .env("SPOOR_ANY_PORTS")
            .action(ArgAction::SetTrue)
            .help("Use free ports for all endpoints");
        let ports = Endpoint::all().map(|endpoint| {
            Arg::new(option(endpoint))
                .long(option(endpoint))
                .env(variable(endpoint))
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .default_value(endpoint.default_port().to_string())
                .help(endpoint.description())
        });
        command
            .next_help_heading("Ports on the loopback addresses (0: any free port)")
            .arg(any)
            .args(ports)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PortArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // First, since every other port has a value too: at least its default.
        if matches.get_flag(ANY) {
            return Ok(Self(LabPorts::any()));
        }
        let port = |endpoint| Some((endpoint, *matches.get_one(&option(endpoint))?));
        Ok(Self(Endpoint::all().filter_map(port).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The option that sets an endpoint's port.
pub(super) fn option(endpoint: Endpoint) -> String {
    format!("port-{}", endpoint.name())
}

/// The environment variable that sets an endpoint's port.
pub(super) fn variable(endpoint: Endpoint) -> String {
    let option = option(endpoint).replace('-', "_");
    format!("SPOOR_{}", option.to_uppercase())
}
