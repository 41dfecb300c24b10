//! What can be set of the role.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::settings::{Reader, RoleArguments, RoleSettings};

/// The role's settings.
#[derive(Clone, Debug)]
pub struct PoliciesSettings {
    /// What every role has.
    pub role: RoleSettings,
    /// Where the listeners are.
    pub listen: Listen,
    /// The certificate of the stream's door, in PEM; read again when it changes.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// Observed numbers are written to a status at most this often.
    pub observe: Duration,
    /// What the control plane behind the listeners has: bounds and times. Who callers are is the
    /// role's own affair.
    pub control: spoor_control::Settings,
}

/// Where the listeners are; port 0 takes any free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Jaeger's remote sampling over HTTP.
    pub http: SocketAddr,
    /// Jaeger's remote sampling over gRPC.
    pub grpc: SocketAddr,
    /// Spoor's own stream, over TLS.
    pub stream: SocketAddr,
    /// OTLP metrics over HTTP, from Collectors.
    pub metrics: SocketAddr,
}

/// The role's settings, as written.
#[derive(Clone, Debug, clap::Args)]
pub struct PoliciesArguments {
    #[command(flatten)]
    role: RoleArguments,
    /// Where Jaeger's remote sampling is over HTTP
    #[arg(long, env = "SPOOR_LISTEN_HTTP", default_value = "0.0.0.0:5778")]
    listen_http: String,
    /// Where Jaeger's remote sampling is over gRPC
    #[arg(long, env = "SPOOR_LISTEN_GRPC", default_value = "0.0.0.0:5779")]
    listen_grpc: String,
    /// Where Spoor's own stream is, over TLS
    #[arg(long, env = "SPOOR_LISTEN_STREAM", default_value = "0.0.0.0:5780")]
    listen_stream: String,
    /// Where Collectors send what unmodified SDKs count, as OTLP over HTTP
    #[arg(long, env = "SPOOR_LISTEN_METRICS", default_value = "0.0.0.0:4318")]
    listen_metrics: String,
    /// The certificate of the stream's door, in PEM
    #[arg(
        long,
        env = "SPOOR_TLS_CERTIFICATE",
        default_value = "/etc/spoor/tls/tls.crt"
    )]
    tls_certificate: PathBuf,
    /// The key of the certificate, in PEM
    #[arg(long, env = "SPOOR_TLS_KEY", default_value = "/etc/spoor/tls/tls.key")]
    tls_key: PathBuf,
}

impl PoliciesSettings {
    /// What can be set at the least.
    #[must_use]
    pub fn new(role: RoleSettings, listen: Listen, certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            role,
            listen,
            certificate,
            key,
            observe: Duration::from_secs(30),
            control: spoor_control::Settings::default(),
        }
    }
}

impl PoliciesArguments {
    /// Checks them.
    pub fn read(&self, reader: &mut Reader) -> Option<PoliciesSettings> {
        let role = self.role.read(reader, "spoor-policies");
        let mut address =
            |setting, text: &str, example| reader.parsed::<SocketAddr>(setting, text, example);
        let http = address(
            "--listen-http (SPOOR_LISTEN_HTTP)",
            &self.listen_http,
            "0.0.0.0:5778",
        );
        let grpc = address(
            "--listen-grpc (SPOOR_LISTEN_GRPC)",
            &self.listen_grpc,
            "0.0.0.0:5779",
        );
        let stream = address(
            "--listen-stream (SPOOR_LISTEN_STREAM)",
            &self.listen_stream,
            "0.0.0.0:5780",
        );
        let metrics = address(
            "--listen-metrics (SPOOR_LISTEN_METRICS)",
            &self.listen_metrics,
            "0.0.0.0:4318",
        );
        let listen = Listen {
            http: http?,
            grpc: grpc?,
            stream: stream?,
            metrics: metrics?,
        };
        let (certificate, key) = (self.tls_certificate.clone(), self.tls_key.clone());
        Some(PoliciesSettings::new(role?, listen, certificate, key))
    }
}
