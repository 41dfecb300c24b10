//! A tier's configuration, moved from a pod to this host.

use std::net::SocketAddr;

use serde_json::{Value, json};
use spoor_operator::stacks::collector::Tier;

/// Where a tier's program listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub peers: SocketAddr,
    pub health: SocketAddr,
    pub own_metrics: SocketAddr,
    pub span_metrics: SocketAddr,
}

impl Listening {
    /// On ports that are free now.
    pub fn anywhere() -> Self {
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

/// Whom a tier's program talks to.
#[derive(Clone, Copy, Debug)]
pub struct Talking {
    /// The second tier's address, or Jaeger's.
    pub next: SocketAddr,
    /// Where clients' own counts go.
    pub reported: SocketAddr,
}

/// The configuration in a tier's objects with these addresses in the place of a pod's.
pub fn relocated(tier: &Tier, listening: &Listening, talking: &Talking) -> Value {
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
        text(listening.grpc),
    );
    set(
        "/receivers/otlp/protocols/http/endpoint",
        text(listening.http),
    );
    set(
        "/receivers/otlp~1spoor-peers/protocols/grpc/endpoint",
        text(listening.peers),
    );
    set("/extensions/health_check/endpoint", text(listening.health));
    set(
        "/service/telemetry/metrics/readers/0/pull/exporter/prometheus",
        json!({"host": listening.own_metrics.ip(), "port": listening.own_metrics.port()}),
    );
    set(
        "/exporters/prometheus~1spoor/endpoint",
        text(listening.span_metrics),
    );
    set(
        "/exporters/otlp_http~1spoor-reported/endpoint",
        json!(format!("http://{}", talking.reported)),
    );
    for exporter in ["otlp_grpc~1spoor-decide", "otlp_grpc~1spoor-jaeger"] {
        set(
            &format!("/exporters/{exporter}/endpoint"),
            text(talking.next),
        );
    }
    config
}

/// Spreads spans over these peers: there is no DNS of a cluster here.
pub fn with_peers(mut config: Value, peers: &[SocketAddr]) -> Value {
    let hostnames: Vec<String> = peers.iter().map(SocketAddr::to_string).collect();
    config["exporters"]["load_balancing/spoor-peers"]["resolver"] =
        json!({"static": {"hostnames": hostnames}});
    config
}
