//! The lab's ports: their numbers, their settings, and how each is taken.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use clap::Args;
use rand::RngExt;

/// Where the kernel's own choice of ports usually ends: below it, no outgoing connection takes a
/// port between its choice and its use.
const CHOICE: std::ops::Range<u16> = 20_000..32_000;

/// How many ports are tried when any will do.
const TRIES: usize = 200;

/// The ports of the lab and of its services, all on 127.0.0.1; 0 takes any that is free.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Ports on 127.0.0.1 (0: any free one)")]
pub struct Ports {
    /// Take any free port for everything.
    #[arg(long, env = "SPOOR_ANY_PORTS")]
    any_ports: bool,
    /// OTLP over gRPC.
    #[arg(
        long,
        env = "SPOOR_PORT_OTLP_GRPC",
        value_name = "PORT",
        default_value_t = 4317
    )]
    port_otlp_grpc: u16,
    /// OTLP over HTTP.
    #[arg(
        long,
        env = "SPOOR_PORT_OTLP_HTTP",
        value_name = "PORT",
        default_value_t = 4318
    )]
    port_otlp_http: u16,
    /// Jaeger's query API over HTTP, and the trace page.
    #[arg(
        long,
        env = "SPOOR_PORT_QUERY_HTTP",
        value_name = "PORT",
        default_value_t = 16686
    )]
    port_query_http: u16,
    /// Jaeger's query API over gRPC.
    #[arg(
        long,
        env = "SPOOR_PORT_QUERY_GRPC",
        value_name = "PORT",
        default_value_t = 16685
    )]
    port_query_grpc: u16,
    /// Jaeger's remote sampling over HTTP.
    #[arg(
        long,
        env = "SPOOR_PORT_SAMPLING_HTTP",
        value_name = "PORT",
        default_value_t = 5778
    )]
    port_sampling_http: u16,
    /// Jaeger's remote sampling over gRPC, and Spoor's stream of policies.
    #[arg(
        long,
        env = "SPOOR_PORT_SAMPLING_GRPC",
        value_name = "PORT",
        default_value_t = 5779
    )]
    port_sampling_grpc: u16,
    /// The lab's own API, which the policy verbs use.
    #[arg(
        long,
        env = "SPOOR_PORT_ADMIN",
        value_name = "PORT",
        default_value_t = 16600
    )]
    port_admin: u16,
    /// service-a, over HTTP.
    #[arg(
        long,
        env = "SPOOR_PORT_SERVICE_A",
        value_name = "PORT",
        default_value_t = 8080
    )]
    port_service_a: u16,
    /// service-b, over gRPC.
    #[arg(
        long,
        env = "SPOOR_PORT_SERVICE_B",
        value_name = "PORT",
        default_value_t = 9001
    )]
    port_service_b: u16,
    /// The wishlist's gateway, over HTTP.
    #[arg(
        long,
        env = "SPOOR_PORT_GATEWAY",
        value_name = "PORT",
        default_value_t = 8081
    )]
    port_gateway: u16,
    /// The wishlist, over gRPC.
    #[arg(
        long,
        env = "SPOOR_PORT_WISHLIST",
        value_name = "PORT",
        default_value_t = 9002
    )]
    port_wishlist: u16,
    /// Metrics and health of service-a.
    #[arg(
        long,
        env = "SPOOR_PORT_SERVICE_A_OPS",
        value_name = "PORT",
        default_value_t = 9464
    )]
    port_service_a_ops: u16,
    /// Metrics and health of service-b.
    #[arg(
        long,
        env = "SPOOR_PORT_SERVICE_B_OPS",
        value_name = "PORT",
        default_value_t = 9465
    )]
    port_service_b_ops: u16,
    /// Metrics and health of the gateway.
    #[arg(
        long,
        env = "SPOOR_PORT_GATEWAY_OPS",
        value_name = "PORT",
        default_value_t = 9466
    )]
    port_gateway_ops: u16,
    /// Metrics and health of the wishlist.
    #[arg(
        long,
        env = "SPOOR_PORT_WISHLIST_OPS",
        value_name = "PORT",
        default_value_t = 9467
    )]
    port_wishlist_ops: u16,
}

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
    /// service-a.
    ServiceA,
    /// service-b.
    ServiceB,
    /// The wishlist's gateway.
    Gateway,
    /// The wishlist.
    Wishlist,
    /// Metrics and health of service-a.
    ServiceAOps,
    /// Metrics and health of service-b.
    ServiceBOps,
    /// Metrics and health of the gateway.
    GatewayOps,
    /// Metrics and health of the wishlist.
    WishlistOps,
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
    pub fn listen(&self, door: Door) -> Result<tokio::net::TcpListener, TakePortError> {
        let port = self.port(door);
        let failed = |source| TakePortError::of(source, port, door);
        let listener = bind(port).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        tokio::net::TcpListener::from_std(listener).map_err(failed)
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
        if self.any_ports {
            return 0;
        }
        match door {
            Door::OtlpGrpc => self.port_otlp_grpc,
            Door::OtlpHttp => self.port_otlp_http,
            Door::QueryHttp => self.port_query_http,
            Door::QueryGrpc => self.port_query_grpc,
            Door::SamplingHttp => self.port_sampling_http,
            Door::SamplingGrpc => self.port_sampling_grpc,
            Door::Admin => self.port_admin,
            Door::ServiceA => self.port_service_a,
            Door::ServiceB => self.port_service_b,
            Door::Gateway => self.port_gateway,
            Door::Wishlist => self.port_wishlist,
            Door::ServiceAOps => self.port_service_a_ops,
            Door::ServiceBOps => self.port_service_b_ops,
            Door::GatewayOps => self.port_gateway_ops,
            Door::WishlistOps => self.port_wishlist_ops,
        }
    }
}

/// A port kept free for another process until this is dropped.
pub struct Held {
    /// Where that process is to listen.
    pub address: SocketAddr,
    _listener: TcpListener,
}

impl Door {
    /// What people call it.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "OTLP over gRPC",
            Self::OtlpHttp => "OTLP over HTTP",
            Self::QueryHttp => "traces, over HTTP",
            Self::QueryGrpc => "traces, over gRPC",
            Self::SamplingHttp => "remote sampling, over HTTP",
            Self::SamplingGrpc => "remote sampling, over gRPC",
            Self::Admin => "the lab's own API",
            Self::ServiceA => "service-a",
            Self::ServiceB => "service-b",
            Self::Gateway => "gateway",
            Self::Wishlist => "wishlist",
            Self::ServiceAOps => "metrics of service-a",
            Self::ServiceBOps => "metrics of service-b",
            Self::GatewayOps => "metrics of gateway",
            Self::WishlistOps => "metrics of wishlist",
        }
    }

    /// The option that sets its port.
    fn flag(self) -> String {
        format!("port-{}", self.name())
    }

    /// The environment variable that does the same.
    fn env(self) -> String {
        self.flag()
            .replace('-', "_")
            .to_uppercase()
            .replace("PORT_", "SPOOR_PORT_")
    }

    fn name(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpHttp => "otlp-http",
            Self::QueryHttp => "query-http",
            Self::QueryGrpc => "query-grpc",
            Self::SamplingHttp => "sampling-http",
            Self::SamplingGrpc => "sampling-grpc",
            Self::Admin => "admin",
            Self::ServiceA => "service-a",
            Self::ServiceB => "service-b",
            Self::Gateway => "gateway",
            Self::Wishlist => "wishlist",
            Self::ServiceAOps => "service-a-ops",
            Self::ServiceBOps => "service-b-ops",
            Self::GatewayOps => "gateway-ops",
            Self::WishlistOps => "wishlist-ops",
        }
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
