//! A tier's configuration, adapted from a pod to this host.

use std::net::SocketAddr;

use serde_json::{Value, json};
use spoor_operator::stacks::collector::Tier;

/// The addresses at which a tier's program listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenAddresses {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub peers: SocketAddr,
    pub health: SocketAddr,
    pub own_metrics: SocketAddr,
    pub span_metrics: SocketAddr,
}

impl ListenAddresses {
    /// Addresses with ports that are free now.
    pub fn on_free_ports() -> Self {
        let [grpc, http, peers, health, own_metrics, span_metrics] = spoor_testing::ports::free();
        Self {
            grpc,
            http,
            peers,
            health,
            own_metrics,
            span_metrics,
        }
    }
}

/// The addresses to which a tier's program sends.
#[derive(Clone, Copy, Debug)]
pub struct Upstreams {
    /// The deciding tier's address, or Jaeger's.
    pub next: SocketAddr,
    /// The endpoint for clients' own counts.
    pub counts_endpoint: SocketAddr,
}

/// The configuration in a tier's objects with these addresses in place of a pod's.
pub fn relocated(tier: &Tier, addresses: &ListenAddresses, upstreams: &Upstreams) -> Value {
    let text = &tier.config.data.as_ref().unwrap()["config.yaml"];
    let mut config: Value = serde_yaml::from_str(text).unwrap();
    let mut set = |path: &str, value: Value| {
        if let Some(field) = config.pointer_mut(path) {
            *field = value;
        }
    };
    let text = |address: SocketAddr| json!(address.to_string());
    set(
        "/receivers/otlp/protocols/grpc/endpoint",
        text(addresses.grpc),
    );
    set(
        "/receivers/otlp/protocols/http/endpoint",
        text(addresses.http),
    );
    set(
        "/receivers/otlp~1spoor-peers/protocols/grpc/endpoint",
        text(addresses.peers),
    );
    set("/extensions/health_check/endpoint", text(addresses.health));
    set(
        "/service/telemetry/metrics/readers/0/pull/exporter/prometheus",
        json!({"host": addresses.own_metrics.ip(), "port": addresses.own_metrics.port()}),
    );
    set(
        "/exporters/prometheus~1spoor/endpoint",
        text(addresses.span_metrics),
    );
    set(
        "/exporters/otlp_http~1spoor-reported/endpoint",
        json!(format!("http://{}", upstreams.counts_endpoint)),
    );
    for exporter in ["otlp_grpc~1spoor-decide", "otlp_grpc~1spoor-jaeger"] {
        set(
            &format!("/exporters/{exporter}/endpoint"),
            text(upstreams.next),
        );
    }
    config
}

/// Distributes spans among these peers, since there is no cluster DNS here.
pub fn with_peers(mut config: Value, peers: &[SocketAddr]) -> Value {
    let hostnames: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
    config["exporters"]["load_balancing/spoor-peers"]["resolver"] =
        json!({"static": {"hostnames": hostnames}});
    config
}
