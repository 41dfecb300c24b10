//! The role `policies` in the test's own process, on ports of its own, as the ServiceAccount that
//! the chart gives it; and both roles as processes.
#![allow(dead_code)] // The tests and the benchmarks each use a part.

pub mod chart;
pub mod replica;
pub mod sampling_policy;
pub mod server_certificate;
pub mod token;

use std::{net::SocketAddr, time::Duration};

use kube::Client;
use spoor_operator::{
    kubernetes::watch::WatchScope,
    lease,
    policies::{self, PoliciesSettings, PolicyEndpoints, RunningPolicies},
    settings::RoleSettings,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::apiserver::{Namespace, eventually};
use server_certificate::ServerCertificate;

/// The deadline of most waits: long enough for a loaded machine.
pub const MAX_WAIT: Duration = Duration::from_secs(15);

/// The timing of a lease that expires soon enough for a test.
pub const SHORT_TIMING: lease::Timing = lease::Timing {
    duration: Duration::from_secs(3),
    renew: Duration::from_millis(500),
    retry: Duration::from_millis(300),
};

/// A replica of the role.
pub struct Policies {
    pub running: RunningPolicies,
    pub certificate: ServerCertificate,
    pub stop: CancellationToken,
    _folder: TempDir,
}

impl Policies {
    /// Starts a replica for the policies of this namespace alone, and waits until it is the leader.
    pub async fn start(namespace: &Namespace<'_>) -> Self {
        let client = chart::account(namespace, "policies").await;
        let this = Self::start_as(client, namespace, "policies-0").await;
        this.endpoints().await;
        this
    }

    /// Starts a replica of this name.
    pub async fn start_as(client: Client, namespace: &Namespace<'_>, pod: &str) -> Self {
        Self::start_with(client, namespace, pod, |_| {}).await
    }

    /// Starts a replica with other settings.
    pub async fn start_with(
        client: Client,
        namespace: &Namespace<'_>,
        pod: &str,
        change: impl FnOnce(&mut PoliciesSettings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = ServerCertificate::write(folder.path());
        let mut settings = settings(namespace, pod, &certificate);
        change(&mut settings);
        let stop = CancellationToken::new();
        let running = policies::start(client, settings, stop.clone())
            .await
            .unwrap();
        Self {
            running,
            certificate,
            stop,
            _folder: folder,
        }
    }

    /// The addresses of its listeners, once they are open.
    pub async fn endpoints(&self) -> PolicyEndpoints {
        let endpoints = &self.running.endpoints;
        let found = eventually("the listeners open", MAX_WAIT, async || {
            let endpoints = *endpoints.borrow();
            endpoints.ok_or(format!("/readyz: {}", self.ops("readyz").await))
        });
        found.await
    }

    /// The response of the ops port at this path.
    pub async fn ops(&self, path: &str) -> String {
        let url = format!("http://{}/{path}", self.running.role.ops);
        match reqwest::get(&url).await {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(error) => format!("{error:?}"),
        }
    }

    /// The sum of a counter over all series whose labels contain this text.
    pub async fn count(&self, name: &str, label: &str) -> u64 {
        let metrics = self.ops("metrics").await;
        let samples = metrics.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))
        });
        let values = samples.filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    }

    /// Stops the replica as the kubelet would.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.running.role.finished().await;
    }
}

fn settings(
    namespace: &Namespace<'_>,
    pod: &str,
    certificate: &ServerCertificate,
) -> PoliciesSettings {
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let role = RoleSettings {
        namespace: namespace.name.clone(),
        identity: pod.to_owned(),
        pod: pod.to_owned(),
        installation: "spoor".to_owned(),
        scope: WatchScope::Only([namespace.name.clone()].into()),
        ops: any,
        lease: "spoor-policies".to_owned(),
        timing: SHORT_TIMING,
        claim_timing: SHORT_TIMING,
    };
    let listen = PolicyEndpoints {
        http: any,
        grpc: any,
        stream: any,
        metrics: any,
    };
    PoliciesSettings {
        role,
        listen,
        certificate: certificate.crt.clone(),
        key: certificate.key.clone(),
        observed_interval: Duration::from_secs(30),
        control: spoor_control::ControlSettings::default(),
    }
}
