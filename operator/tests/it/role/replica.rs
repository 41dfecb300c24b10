//! A replica in a process of its own, which a test can kill.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{chart, server_certificate::ServerCertificate};
use crate::apiserver::{Namespace, Process};

/// The settings that all replicas of a role share. Only the leader opens the listeners, so they can
/// share the ports.
pub struct Release {
    pub endpoints: Endpoints,
    pub certificate: ServerCertificate,
    role: &'static str,
    kubeconfig: PathBuf,
    namespace: String,
    folder: tempfile::TempDir,
}

/// The addresses of the listeners while they are open.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub stream: SocketAddr,
    pub metrics: SocketAddr,
}

/// One process.
pub struct Replica {
    pub process: Process,
    pub ops: SocketAddr,
}

impl Release {
    /// Prepares replicas of this role that serve this namespace only.
    pub async fn new(namespace: &Namespace<'_>, role: &'static str) -> Self {
        chart::account(namespace, role).await;
        let account = chart::account_name(&namespace.name, role);
        let token = namespace.account_token(&account).await;
        let folder = tempfile::tempdir().unwrap();
        let [http, grpc, stream, metrics] = spoor_testing::ports::free();
        Self {
            endpoints: Endpoints {
                http,
                grpc,
                stream,
                metrics,
            },
            certificate: ServerCertificate::write(folder.path()),
            role,
            kubeconfig: namespace.server.kubeconfig(&account, &token),
            namespace: namespace.name.clone(),
            folder,
        }
    }

    /// Starts the replica with this pod name.
    pub fn start(&self, pod: &str) -> Replica {
        self.start_with(pod, &[])
    }

    /// Starts the replica with additional environment variables.
    pub fn start_with(&self, pod: &str, additional: &[(&str, &str)]) -> Replica {
        let [ops] = spoor_testing::ports::free();
        let text = |path: &Path| path.display().to_string();
        let environment = [
            ("KUBECONFIG", text(&self.kubeconfig)),
            ("SPOOR_NAMESPACE", self.namespace.clone()),
            ("SPOOR_NAMESPACES", self.namespace.clone()),
            ("SPOOR_POD_NAME", pod.to_owned()),
            ("SPOOR_OPS_LISTEN", ops.to_string()),
            // As the chart has it.
            ("MALLOC_ARENA_MAX", "1".to_owned()),
            ("SPOOR_POLICIES_SERVICE", "spoor-policies".to_owned()),
            ("SPOOR_LISTEN_HTTP", self.endpoints.http.to_string()),
            ("SPOOR_LISTEN_GRPC", self.endpoints.grpc.to_string()),
            ("SPOOR_LISTEN_STREAM", self.endpoints.stream.to_string()),
            ("SPOOR_LISTEN_METRICS", self.endpoints.metrics.to_string()),
            ("SPOOR_TLS_CERTIFICATE", text(&self.certificate.crt)),
            ("SPOOR_TLS_KEY", text(&self.certificate.key)),
        ];
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(additional.iter().copied())
            .collect();
        let program = Path::new(env!("CARGO_BIN_EXE_spoor-operator"));
        let log = self.folder.path().join(format!("{pod}.log"));
        Replica {
            process: Process::start(program, [self.role], &environment, log),
            ops,
        }
    }
}

impl Replica {
    /// Checks that the replica is ready. The error is the response of `/readyz`.
    pub async fn check_ready(&self) -> Result<(), String> {
        let url = format!("http://{}/readyz", self.ops);
        match reqwest::get(url).await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(response.text().await.unwrap_or_default()),
            Err(error) => Err(format!("{error:?}\n{}", self.process.log_tail())),
        }
    }
}
