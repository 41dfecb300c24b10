//! The options for the lab's ports.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use spoor_lab::{Endpoint, LabPorts};

use super::number::whole_number;

const ANY_PORTS: &str = "any-ports";

/// The ports of the lab, as options. Each port has an option such as `--port-service-a`, and a
/// variable such as `SPOOR_PORT_SERVICE_A`. They are built from the list of endpoints and not
/// derived, so that a new service has its options without further code.
#[derive(Clone, Debug)]
pub struct PortArgs(pub LabPorts);

impl Args for PortArgs {
    fn augment_args(command: Command) -> Command {
        let any = Arg::new(ANY_PORTS)
            .long(ANY_PORTS)
            .env("SPOOR_ANY_PORTS")
            .action(ArgAction::SetTrue)
            .help("Use free ports for all endpoints whose port is not set");
        let ports = Endpoint::all().map(|endpoint| {
            Arg::new(option(endpoint))
                .long(option(endpoint))
                .env(variable(endpoint))
                .value_name("PORT")
                .value_parser(whole_number(0..=u16::MAX, 8080))
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
        let any = matches.get_flag(ANY_PORTS);
        let port = |endpoint| {
            let option = option(endpoint);
            // Every port has a value, at least its default.
            let is_set = matches.value_source(&option) != Some(ValueSource::DefaultValue);
            let port = *matches.get_one(&option)?;
            Some((endpoint, if is_set || !any { port } else { 0 }))
        };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(&["--any-ports"], 0, 0)]
    #[case(&["--any-ports", "--port-admin", "7000"], 7000, 0)]
    #[case(&["--port-admin", "7000"], 7000, 8080)]
    fn any_ports_keeps_ports_that_are_set(
        #[case] arguments: &[&str],
        #[case] admin: u16,
        #[case] service_a: u16,
    ) {
        let command = PortArgs::augment_args(Command::new("up").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        let ports = PortArgs::from_arg_matches(&matches).unwrap().0;
        assert_eq!(ports.port(Endpoint::Admin), admin);
        let edge = Endpoint::Service(spoor_lab::Service::ServiceA);
        assert_eq!(ports.port(edge), service_a);
    }
}
