//! The lab's ports: their numbers, their settings, and how each is taken.

use std::{
    collections::BTreeMap,
    io, iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use rand::RngExt;
use spoor_runtime::Sockets;

use crate::service::Service;

/// Where the kernel's own choice of ports usually ends: below it, no outgoing connection takes a
/// port between its choice and its use.
const CHOICE: std::ops::Range<u16> = 20_000..32_000;

/// How many ports are tried when any will do.
const TRIES: usize = 200;

const ANY: &str = "any-ports";

/// The ports of the lab and of its services, all on 127.0.0.1; 0 takes any that is free. Each has
/// an option (`--port-service-a`) and a variable (`SPOOR_PORT_SERVICE_A`).
#[derive(Clone, Debug)]
pub struct Ports(BTreeMap<Door, u16>);

/// Whatever listens on a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Jaeger's query API over HTTP, and the page.
    QueryHttp,
    /// Jaeger's query API over gRPC.
    QueryGrpc,
    /// Remote sampling over HTTP.
    SamplingHttp,
    /// Remote sampling over gRPC, and the stream of policies.
    SamplingGrpc,
    /// The lab's own API.
    Admin,
    /// A service.
    Of(Service),
    /// Metrics and health of a service.
    Ops(Service),
}

/// Why a port can't be had; the message says how to choose another.
#[derive(Debug, thiserror::Error)]
pub enum TakePortError {
    /// Something else listens there.
    #[error(
        "port {port} ({what}) is in use: stop what listens there, or choose another with \
         --{flag} or {env} (0: any free one)",
        what = door.what(), flag = door.flag(), env = door.env()
    )]
    InUse {
        /// The port.
        port: u16,
        /// What wants it.
        door: Door,
    },
    /// It may not be taken, or not now.
    #[error("can't listen on port {port} ({what}, --{flag})", what = door.what(), flag = door.flag())]
    Listen {
        /// The port; 0: any.
        port: u16,
        /// What wants it.
        door: Door,
        /// Why not.
        source: io::Error,
    },
}

impl Ports {
    /// Opens the door.
    ///
    /// # Errors
    /// [`TakePortError`] names the port and its setting.
    pub fn listen(&self, door: Door) -> Result<Sockets, TakePortError> {
        let port = self.port(door);
        Sockets::bind((Ipv4Addr::LOCALHOST, port).into())
            .map_err(|source| TakePortError::of(source, port, door))
    }

    /// Holds the port of a door that another process will open.
    ///
    /// # Errors
    /// [`TakePortError`] names the port and its setting.
    pub fn hold(&self, door: Door) -> Result<Held, TakePortError> {
        let port = self.port(door);
        let listener = if port == 0 { bind_any() } else { bind(port) };
        listener
            .and_then(|listener| {
                Ok(Held {
                    address: listener.local_addr()?,
                    _listener: listener,
                })
            })
            .map_err(|source| TakePortError::of(source, port, door))
    }

    fn port(&self, door: Door) -> u16 {
        self.0.get(&door).copied().unwrap_or_default()
    }
}

impl Args for Ports {
    fn augment_args(command: Command) -> Command {
        let any = Arg::new(ANY)
            .long(ANY)
            .env("SPOOR_ANY_PORTS")
            .action(ArgAction::SetTrue)
            .help("Take any free port for everything");
        let ports = Door::all().map(|door| {
            Arg::new(door.flag())
                .long(door.flag())
                .env(door.env())
                .value_name("PORT")
                .value_parser(value_parser!(u16))
                .default_value(door.number().to_string())
                .help(door.what())
        });
        command
            .next_help_heading("Ports on 127.0.0.1 (0: any free one)")
            .arg(any)
            .args(ports)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Ports {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let any = matches.get_flag(ANY);
        let port = |door: Door| match matches.get_one(&door.flag()) {
            Some(port) if !any => *port,
            _ => 0,
        };
        Ok(Self(Door::all().map(|door| (door, port(door))).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A port kept free for another process until this is dropped.
pub struct Held {
    /// Where that process is to listen.
    pub address: SocketAddr,
    _listener: TcpListener,
}

impl Door {
    fn all() -> impl Iterator<Item = Self> {
        let own = [
            Self::OtlpGrpc,
            Self::OtlpHttp,
            Self::QueryHttp,
            Self::QueryGrpc,
            Self::SamplingHttp,
            Self::SamplingGrpc,
            Self::Admin,
        ];
        let of_services = Service::ALL
            .into_iter()
            .flat_map(|service| iter::once(Self::Of(service)).chain([Self::Ops(service)]));
        own.into_iter().chain(of_services)
    }

    /// Its port by default.
    fn number(self) -> u16 {
        match self {
            Self::OtlpGrpc => 4317,
            Self::OtlpHttp => 4318,
            Self::QueryHttp => 16686,
            Self::QueryGrpc => 16685,
            Self::SamplingHttp => 5778,
            Self::SamplingGrpc => 5779,
            Self::Admin => 16600,
            Self::Of(service) => service.port(),
            Self::Ops(service) => service.ops_port(),
        }
    }

    /// What people call it.
    #[must_use]
    pub fn what(self) -> String {
        match self {
            Self::OtlpGrpc => "OTLP over gRPC".to_owned(),
            Self::OtlpHttp => "OTLP over HTTP".to_owned(),
            Self::QueryHttp => "traces, over HTTP".to_owned(),
            Self::QueryGrpc => "traces, over gRPC".to_owned(),
            Self::SamplingHttp => "remote sampling, over HTTP".to_owned(),
            Self::SamplingGrpc => "remote sampling and policies, over gRPC".to_owned(),
            Self::Admin => "the lab's own API".to_owned(),
            Self::Of(service) => service.to_string(),
            Self::Ops(service) => format!("metrics of {service}"),
        }
    }

    /// The option that sets its port.
    fn flag(self) -> String {
        let name = match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttp => "otlp-http",
            Self::QueryHttp => "query-http",
            Self::QueryGrpc => "query-grpc",
            Self::SamplingHttp => "sampling-http",
            Self::SamplingGrpc => "sampling-grpc",
            Self::Admin => "admin",
            Self::Of(service) => service.name(),
            Self::Ops(service) => return format!("port-{service}-ops"),
        };
        format!("port-{name}")
    }

    /// The environment variable that does the same.
    fn env(self) -> String {
        format!("SPOOR_{}", self.flag().replace('-', "_").to_uppercase())
    }
}

impl TakePortError {
    fn of(source: io::Error, port: u16, door: Door) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { port, door }
        } else {
            Self::Listen { port, door, source }
        }
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn bind_any() -> io::Result<TcpListener> {
    let mut random = rand::rng();
    (0..TRIES)
        .find_map(|_| bind(random.random_range(CHOICE)).ok())
        .map_or_else(|| bind(0), Ok)
}
