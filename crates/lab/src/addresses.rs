//! The addresses of a lab's endpoints and services.

use std::{collections::BTreeMap, net::SocketAddr};

use spoor_runtime::Sockets;

use super::{
    data_folder::DataFolder,
    ports::{BindPortError, Endpoint, LabPorts, ReservedPort},
    service::Service,
    settings::{LabSettings, REDIS_URL, ServiceSampler},
    supervisor::Spec,
};

/// The bound sockets of the lab's own endpoints.
pub(super) struct LabSockets {
    pub(super) otlp_grpc: Sockets,
    pub(super) otlp_http: Sockets,
    pub(super) query_http: Sockets,
    pub(super) query_grpc: Sockets,
    pub(super) sampling_http: Sockets,
    pub(super) sampling_grpc: Sockets,
    pub(super) admin: Sockets,
}

impl LabSockets {
    /// Binds all ports.
    pub(super) fn bind(ports: &LabPorts) -> Result<Self, BindPortError> {
        Ok(Self {
            otlp_grpc: ports.listen(Endpoint::OtlpGrpc)?,
            otlp_http: ports.listen(Endpoint::OtlpHttp)?,
            query_http: ports.listen(Endpoint::QueryHttp)?,
            query_grpc: ports.listen(Endpoint::QueryGrpc)?,
            sampling_http: ports.listen(Endpoint::SamplingHttp)?,
            sampling_grpc: ports.listen(Endpoint::SamplingGrpc)?,
            admin: ports.listen(Endpoint::Admin)?,
        })
    }
}

/// The ports reserved for the services.
pub(super) struct ReservedPorts(BTreeMap<Service, (ReservedPort, ReservedPort)>);

/// A service's addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServiceAddresses {
    pub(super) address: SocketAddr,
    pub(super) ops: SocketAddr,
}

impl ReservedPorts {
    /// Reserves the ports of these services.
    pub(super) fn reserve(services: &[Service], ports: &LabPorts) -> Result<Self, BindPortError> {
        let reserved = services.iter().map(|service| {
            let port = ports.reserve(Endpoint::Service(*service))?;
            Ok((*service, (port, ports.reserve(Endpoint::Ops(*service))?)))
        });
        Ok(Self(reserved.collect::<Result<_, _>>()?))
    }

    /// Releases the ports, so that the services can bind them.
    pub(super) fn release(self) -> BTreeMap<Service, ServiceAddresses> {
        // Dropping a reservation frees its port. The service binds it itself, as it must do again
        // after a restart.
        let addresses = |(service, (port, ops)): (Service, (ReservedPort, ReservedPort))| {
            let (address, ops) = (port.address, ops.address);
            (service, ServiceAddresses { address, ops })
        };
        self.0.into_iter().map(addresses).collect()
    }
}

/// All addresses by name.
pub(super) fn urls(
    sockets: &LabSockets,
    services: &BTreeMap<Service, ServiceAddresses>,
) -> std::io::Result<BTreeMap<String, String>> {
    let own = [
        ("otlp-grpc", &sockets.otlp_grpc),
        ("otlp-http", &sockets.otlp_http),
        ("traces", &sockets.query_http),
        ("query-grpc", &sockets.query_grpc),
        ("sampling-http", &sockets.sampling_http),
        ("sampling-grpc", &sockets.sampling_grpc),
        ("admin", &sockets.admin),
    ];
    let mut urls = BTreeMap::new();
    for (name, port) in own {
        urls.insert(name.to_owned(), format!("http://{}", port.local_addr()?));
    }
    for (service, at) in services {
        urls.insert(service.name().to_owned(), format!("http://{}", at.address));
        // The list of scrape targets selects by this suffix.
        urls.insert(format!("{service}-ops"), format!("http://{}", at.ops));
    }
    Ok(urls)
}

/// The specification for starting each service.
pub(super) fn specs(
    services: &BTreeMap<Service, ServiceAddresses>,
    urls: &BTreeMap<String, String>,
    settings: &LabSettings,
    data: &DataFolder,
    executable: &std::path::Path,
) -> Vec<Spec> {
    // Empty for a service that does not run in this lab; such settings are left out below.
    let url = |name: &str| urls.get(name).cloned().unwrap_or_default();
    let spec = |(service, at): (&Service, &ServiceAddresses)| {
        let mut environment = vec![
            ("OTEL_SERVICE_NAME", service.name().to_owned()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url("otlp-grpc")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".to_owned()),
            ("SPOOR_CONTROL_ENDPOINT", url("sampling-grpc")),
            ("SPOOR_LISTEN", at.address.to_string()),
            ("SPOOR_OPS_LISTEN", at.ops.to_string()),
        ];
        environment.extend(
            settings
                .sampler
                .into_iter()
                .flat_map(ServiceSampler::variables),
        );
        environment.extend(own_settings(*service, &url, settings, data));
        // Without a value, the service uses its own default.
        environment.retain(|(_, value)| !value.is_empty());
        Spec {
            service: *service,
            executable: executable.to_owned(),
            environment,
            ops: at.ops,
        }
    };
    services.iter().map(spec).collect()
}

/// The settings of one service, in addition to those common to all services.
fn own_settings(
    service: Service,
    url: &impl Fn(&str) -> String,
    settings: &LabSettings,
    data: &DataFolder,
) -> Vec<(&'static str, String)> {
    match service {
        Service::ServiceA => vec![("SPOOR_SERVICE_B_URL", url("service-b"))],
        Service::Gateway => vec![
            ("SPOOR_WISHLIST_URL", url("wishlist")),
            ("SPOOR_OFFERS_URL", url("offers")),
            ("SPOOR_JAEGER_URL", url("traces")),
        ],
        Service::Wishlist => {
            let database = format!("sqlite:{}", data.file("wishes.db").display());
            vec![("SPOOR_DATABASE_URL", database)]
        }
        Service::Bands => vec![("SPOOR_REVIEWS_URL", url("reviews"))],
        Service::Preprocessing => vec![("SPOOR_ENSEMBLE_URL", url("ensemble"))],
        Service::Ensemble => vec![
            ("SPOOR_EFFICIENTNETB0_URL", url("efficientnetb0")),
            ("SPOOR_MOBILENETV2_URL", url("mobilenetv2")),
        ],
        Service::Tasks => {
            // With the password, which `Display` leaves out: the service has to log in.
            let redis = settings.redis_url.as_ref().map(|url| url.with_password());
            vec![(REDIS_URL, redis.unwrap_or_default().to_owned())]
        }
        Service::Offers => vec![
            ("SPOOR_WISHLIST_URL", url("wishlist")),
            ("SPOOR_MARKETPLACES", marketplaces(url)),
        ],
        // One is slow and reliable, one fast and unreliable, and one rate-limited, so that the
        // retries, the circuit breaker and the partial results of `offers` all occur in traces.
        Service::MarketplaceAttic => marketplace("attic", "400ms..1200ms", "0%", "none"),
        Service::MarketplaceBazaar => marketplace("bazaar", "20ms..80ms", "30%", "none"),
        Service::MarketplaceCorner => marketplace("corner", "80ms..250ms", "1%", "3"),
        Service::ServiceB | Service::Reviews | Service::Efficientnetb0 | Service::Mobilenetv2 => {
            vec![]
        }
    }
}

/// The settings in which marketplaces differ.
fn marketplace(
    name: &str,
    latency: &str,
    error_rate: &str,
    rate_limit: &str,
) -> Vec<(&'static str, String)> {
    vec![
        ("SPOOR_MARKETPLACE_NAME", name.to_owned()),
        ("SPOOR_MARKETPLACE_LATENCY", latency.to_owned()),
        ("SPOOR_MARKETPLACE_ERROR_RATE", error_rate.to_owned()),
        ("SPOOR_MARKETPLACE_RATE_LIMIT", rate_limit.to_owned()),
    ]
}

/// The marketplaces that run in this lab, as `NAME=URL`, separated by commas.
fn marketplaces(url: &impl Fn(&str) -> String) -> String {
    let members = ["attic", "bazaar", "corner"]
        .map(|name| (name, url(&format!("marketplace-{name}"))))
        .into_iter()
        .filter(|(_, url)| !url.is_empty())
        .map(|(name, url)| format!("{name}={url}"));
    members.collect::<Vec<_>>().join(",")
}
