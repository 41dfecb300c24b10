//! The settings of the `policies` role.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use spoor_runtime::SettingsReader;

use crate::settings::{RoleArguments, RoleSettings};

/// The role's settings.
#[derive(Clone, Debug)]
pub struct PoliciesSettings {
    /// The settings that both roles have.
    pub role: RoleSettings,
    /// The addresses to listen on. Port 0 stands for any free port.
    pub listen: PolicyEndpoints,
    /// The certificate of the stream listener, in PEM. It is read again when it changes.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// The shortest interval between two writes of a status in which only observed numbers differ.
    pub observed_interval: Duration,
    /// The bounds and times of the control plane behind the listeners. The role itself sets
    /// `identify`, `max_streams` and `shutdown`.
    pub control: spoor_control::ControlSettings,
}

/// The addresses of the role's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEndpoints {
    /// Jaeger's remote sampling API, at its usual port for HTTP. Also serves gRPC.
    pub http: SocketAddr,
    /// Jaeger's remote sampling API, at its usual port for gRPC. Also serves HTTP.
    pub grpc: SocketAddr,
    /// Spoor's streams to services and samplers, over TLS.
    pub stream: SocketAddr,
    /// OTLP metrics over HTTP, from Collectors.
    pub metrics: SocketAddr,
}

/// The role's settings as flags and environment variables.
#[derive(Clone, Debug, clap::Args)]
pub struct PoliciesArguments {
    #[command(flatten)]
    role: RoleArguments,
    /// Address of Jaeger's remote sampling API over HTTP
    #[arg(long, env = "SPOOR_LISTEN_HTTP", default_value = "0.0.0.0:5778")]
    listen_http: String,
    /// Address of Jaeger's remote sampling API over gRPC
    #[arg(long, env = "SPOOR_LISTEN_GRPC", default_value = "0.0.0.0:5779")]
    listen_grpc: String,
    /// Address of Spoor's streams to services and samplers, over TLS
    #[arg(long, env = "SPOOR_LISTEN_STREAM", default_value = "0.0.0.0:5780")]
    listen_stream: String,
    /// Address to which Collectors send the counts of unmodified SDKs, as OTLP over HTTP
    #[arg(long, env = "SPOOR_LISTEN_METRICS", default_value = "0.0.0.0:4318")]
    listen_metrics: String,
    /// Certificate of the stream listener, in PEM
    #[arg(
        long,
        env = "SPOOR_TLS_CERTIFICATE",
        default_value = "/etc/spoor/tls/tls.crt"
    )]
    tls_certificate: PathBuf,
    /// Private key of the certificate, in PEM
    #[arg(long, env = "SPOOR_TLS_KEY", default_value = "/etc/spoor/tls/tls.key")]
    tls_key: PathBuf,
}

impl PoliciesArguments {
    /// Checks the settings.
    pub fn read(&self, reader: &mut SettingsReader) -> Option<PoliciesSettings> {
        let role = self.role.read(reader, "spoor-policies");
        let setting = "--listen-http (SPOOR_LISTEN_HTTP)";
        let http = reader.parse(setting, &self.listen_http, "0.0.0.0:5778");
        let setting = "--listen-grpc (SPOOR_LISTEN_GRPC)";
        let grpc = reader.parse(setting, &self.listen_grpc, "0.0.0.0:5779");
        let setting = "--listen-stream (SPOOR_LISTEN_STREAM)";
        let stream = reader.parse(setting, &self.listen_stream, "0.0.0.0:5780");
        let setting = "--listen-metrics (SPOOR_LISTEN_METRICS)";
        let metrics = reader.parse(setting, &self.listen_metrics, "0.0.0.0:4318");
        let listen = PolicyEndpoints {
            http: http?,
            grpc: grpc?,
            stream: stream?,
            metrics: metrics?,
        };
        Some(PoliciesSettings {
            role: role?,
            listen,
            certificate: self.tls_certificate.clone(),
            key: self.tls_key.clone(),
            observed_interval: Duration::from_secs(30),
            control: spoor_control::ControlSettings::default(),
        })
    }
}
