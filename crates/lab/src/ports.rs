//! The lab's ports: their numbers, settings and reservation.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use spoor_runtime::Sockets;

use super::service::Service;

/// The ports to choose from. They lie below Linux's ephemeral ports (32 768 to 60 999), so that no
/// outgoing connection takes a port between its release and its use by the service.
const PORT_RANGE: std::ops::Range<u16> = 20_000..32_000;

/// The number of ports to try before leaving the choice to the kernel.
const MAX_ATTEMPTS: usize = 200;

/// The ports of the lab and its services, all on loopback addresses. 0 means any free port.
#[derive(Clone, Debug)]
pub struct LabPorts(BTreeMap<Endpoint, u16>);

/// An endpoint with a port of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP.
    OtlpHttp,
    /// Jaeger's query API over HTTP, and the console.
    QueryHttp,
    /// Jaeger's query API over gRPC.
    QueryGrpc,
    /// Remote sampling over HTTP.
    SamplingHttp,
    /// Remote sampling over gRPC, and the policy stream.
    SamplingGrpc,
    /// The lab's own API.
    Admin,
    /// A service.
    Service(Service),
    /// The metrics and health of a service.
    Ops(Service),
}

/// The error of binding a port.
#[derive(Debug, thiserror::Error)]
pub enum BindPortError {
    /// Another process listens on the port.
    #[error("port {port} ({}) is in use", endpoint.description())]
    InUse {
        /// The port.
        port: u16,
        /// The endpoint.
        endpoint: Endpoint,
    },
    /// The port cannot be bound.
    #[error("cannot listen on port {port} ({})", endpoint.description())]
    Listen {
        /// The port, or 0 for any.
        port: u16,
        /// The endpoint.
        endpoint: Endpoint,
        /// The cause.
        source: io::Error,
    },
}

impl LabPorts {
    /// Binds the port of an endpoint of this process.
    ///
    /// # Errors
    /// [`BindPortError`] names the port and the endpoint.
    pub(crate) fn listen(&self, endpoint: Endpoint) -> Result<Sockets, BindPortError> {
        let port = self.port(endpoint);
        // This binds `::1` too, to which `localhost` may resolve first.
        Sockets::bind((Ipv4Addr::LOCALHOST, port).into())
            .map_err(|source| BindPortError::of(source, port, endpoint))
    }

    /// Reserves the port of an endpoint that another process will serve.
    ///
    /// # Errors
    /// [`BindPortError`] names the port and the endpoint.
    pub(crate) fn reserve(&self, endpoint: Endpoint) -> Result<ReservedPort, BindPortError> {
        let port = self.port(endpoint);
        let listener = if port == 0 { bind_any() } else { bind(port) };
        listener
            .and_then(|listener| {
                Ok(ReservedPort {
                    address: listener.local_addr()?,
                    _listener: listener,
                })
            })
            .map_err(|source| BindPortError::of(source, port, endpoint))
    }

    /// Returns the first two endpoints with the same port, and that port. Only the endpoints of the
    /// lab and of these services count.
    #[must_use]
    pub fn find_shared_port(&self, services: &[Service]) -> Option<(Endpoint, Endpoint, u16)> {
        let mut used = BTreeMap::new();
        let endpoints = Endpoint::all().filter(|endpoint| match endpoint {
            Endpoint::Service(service) | Endpoint::Ops(service) => services.contains(service),
            _ => true,
        });
        for endpoint in endpoints {
            let port = self.port(endpoint);
            // 0 means any free port, so two endpoints with it get different ones.
            if port != 0
                && let Some(earlier) = used.insert(port, endpoint)
            {
                return Some((earlier, endpoint, port));
            }
        }
        None
    }

    /// The port of an endpoint, or 0 for any free one.
    #[must_use]
    pub fn port(&self, endpoint: Endpoint) -> u16 {
        self.0.get(&endpoint).copied().unwrap_or_default()
    }
}

impl Default for LabPorts {
    fn default() -> Self {
        Endpoint::all()
            .map(|endpoint| (endpoint, endpoint.default_port()))
            .collect()
    }
}

impl FromIterator<(Endpoint, u16)> for LabPorts {
    /// Endpoints that are not listed get any free port.
    fn from_iter<I: IntoIterator<Item = (Endpoint, u16)>>(ports: I) -> Self {
        Self(ports.into_iter().collect())
    }
}

/// A port that is reserved for another process until this is dropped.
pub(crate) struct ReservedPort {
    /// The address on which that process will listen.
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
}

impl Endpoint {
    /// Every endpoint, those of the lab itself first.
    pub fn all() -> impl Iterator<Item = Self> {
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
            .flat_map(|service| [Self::Service(service), Self::Ops(service)]);
        own.into_iter().chain(of_services)
    }

    /// The default port.
    #[must_use]
    pub fn default_port(self) -> u16 {
        self.facts().1
    }

    /// A short description for help and errors.
    #[must_use]
    pub fn description(self) -> String {
        self.facts().2
    }

    /// The endpoint's name, such as `query-http`, `gateway` or `gateway-ops`.
    #[must_use]
    pub fn name(self) -> String {
        self.facts().0
    }

    fn facts(self) -> (String, u16, String) {
        let (name, port, description) = match self {
            Self::OtlpGrpc => ("otlp-grpc", 4317, "OTLP over gRPC"),
            Self::OtlpHttp => ("otlp-http", 4318, "OTLP over HTTP"),
            Self::QueryHttp => ("query-http", 16686, "traces, over HTTP"),
            Self::QueryGrpc => ("query-grpc", 16685, "traces, over gRPC"),
            Self::SamplingHttp => ("sampling-http", 5778, "remote sampling, over HTTP"),
            Self::SamplingGrpc => (
                "sampling-grpc",
                5779,
                "remote sampling and the policy stream, over gRPC",
            ),
            Self::Admin => ("admin", 16600, "the lab's own API"),
            Self::Service(service) => (service.name(), service.port(), service.name()),
            Self::Ops(service) => {
                let description = format!("metrics and health of {service}");
                return (format!("{service}-ops"), service.ops_port(), description);
            }
        };
        (name.to_owned(), port, description.to_owned())
    }
}

impl BindPortError {
    fn of(source: io::Error, port: u16, endpoint: Endpoint) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::InUse { port, endpoint }
        } else {
            Self::Listen {
                port,
                endpoint,
                source,
            }
        }
    }
}

fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

fn bind_any() -> io::Result<TcpListener> {
    // Successive ports, starting at a random one: a port is free between its release and its use by
    // the service, and if each port were chosen at random, labs that start at the same time would
    // soon take such a port from each other.
    static NEXT: LazyLock<AtomicU16> =
        LazyLock::new(|| AtomicU16::new(rand::random_range(PORT_RANGE)));
    let next = || {
        let at = NEXT.fetch_add(1, Ordering::Relaxed) % (PORT_RANGE.end - PORT_RANGE.start);
        PORT_RANGE.start + at
    };
    (0..MAX_ATTEMPTS)
        .find_map(|_| bind(next()).ok())
        .map_or_else(|| bind(0), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case::of_a_service(Endpoint::Service(Service::ServiceA), 8082, true)]
    #[case::of_the_lab(Endpoint::Ops(Service::Bands), 4317, true)]
    #[case::of_no_endpoint(Endpoint::Admin, 1, false)]
    #[case::any_free_port(Endpoint::Admin, 0, false)]
    #[case::of_a_service_that_does_not_run(Endpoint::Admin, 8083, false)]
    fn finds_a_shared_port(#[case] endpoint: Endpoint, #[case] port: u16, #[case] is_shared: bool) {
        let mut ports = LabPorts::default();
        ports.0.insert(endpoint, port);
        ports.0.insert(Endpoint::QueryHttp, 0);
        let shared = ports.find_shared_port(&[Service::ServiceA, Service::Bands]);
        assert_eq!(shared.is_some(), is_shared, "{shared:?}");
        if let Some((first, second, shared_port)) = shared {
            assert!([first, second].contains(&endpoint), "{shared:?}");
            assert_eq!((shared_port, first != second), (port, true));
        }
    }
}
