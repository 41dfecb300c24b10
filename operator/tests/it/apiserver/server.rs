use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::json;

use super::{Assets, Process, certificates::Certificates, eventually};

/// etcd and kube-apiserver.
#[derive(Debug)]
pub struct ApiServer {
    pub(super) assets: Assets,
    pub(super) folder: PathBuf,
    pub(super) certificates: Certificates,
    pub(super) port: u16,
    pub(super) etcd_port: u16,
    // In this order, so that the API server ends before its store.
    server: Mutex<Option<Process>>,
    etcd: Process,
}

impl ApiServer {
    /// Starts etcd and kube-apiserver, and applies Spoor's CRDs.
    pub async fn start(assets: Assets) -> Self {
        // Kept: etcd's watchdog deletes it, which happens even when this process is killed.
        let folder = tempfile::Builder::new()
            .prefix("spoor-apiserver-")
            .tempdir()
            .unwrap()
            .keep();
        let certificates = Certificates::write(&folder);
        let [port, etcd_port, peer_port] = spoor_testing::ports::free().map(|it| it.port());
        let etcd = etcd(&assets, &folder, etcd_port, peer_port);
        let this = Self {
            assets,
            folder,
            certificates,
            port,
            etcd_port,
            server: Mutex::new(None),
            etcd,
        };
        std::fs::write(this.folder.join("audit-policy.json"), AUDIT_POLICY).unwrap();
        this.resume().await;
        this.define_resources().await;
        this
    }

    /// The URL of the API server.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The key that signs its ServiceAccounts' tokens, in PEM.
    pub fn token_key(&self) -> String {
        std::fs::read_to_string(self.certificates.file("tokens.key")).unwrap()
    }

    /// Kills kube-apiserver. etcd continues.
    pub fn kill(&self) {
        if let Some(server) = self.server.lock().take() {
            server.kill();
        }
    }

    /// Starts kube-apiserver, on the same port and store as before.
    pub async fn resume(&self) {
        *self.server.lock() = Some(self.kube_apiserver());
        let client = self.admin();
        eventually(
            "kube-apiserver ready",
            Duration::from_secs(90),
            async || {
                let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
                let Err(error) = client.request_text(request).await else {
                    return Ok(());
                };
                let log_tail = |process: &Process| process.log_tail();
                let server = self
                    .server
                    .lock()
                    .as_ref()
                    .map(log_tail)
                    .unwrap_or_default();
                Err(format!("{error}\n{server}\n{}", self.etcd.log_tail()))
            },
        )
        .await;
    }

    /// Compacts etcd's history, so that a watch from an earlier resource version gets 410.
    pub async fn compact(&self) {
        let etcd = format!("http://127.0.0.1:{}/v3/kv", self.etcd_port);
        let http = reqwest::Client::new();
        let post = async |call: &str, body: serde_json::Value| -> serde_json::Value {
            let response = http.post(format!("{etcd}/{call}")).json(&body).send();
            let response = response.await.unwrap().error_for_status().unwrap();
            response.json().await.unwrap()
        };
        let newest = post("range", json!({"key": "AA=="})).await["header"]["revision"].clone();
        post("compaction", json!({"revision": newest, "physical": true})).await;
    }

    fn kube_apiserver(&self) -> Process {
        let file = |name: &str| self.certificates.file(name);
        let arguments = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // Both wait for controllers that do not run here: one to create a pod's account, one to
            // release a claim.
            "--disable-admission-plugins=ServiceAccount,StorageObjectInUseProtection".to_owned(),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", file("tokens.pub")),
            format!("--service-account-signing-key-file={}", file("tokens.key")),
            format!("--audit-policy-file={}", file("audit-policy.json")),
            format!("--audit-log-path={}", file("audit.log")),
        ];
        let program = self.assets.program("kube-apiserver");
        Process::start(&program, arguments, &[], self.folder.join("apiserver.log"))
    }
}

fn etcd(assets: &Assets, folder: &Path, port: u16, peer_port: u16) -> Process {
    let url = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let arguments = [
        format!("--data-dir={}", folder.join("etcd").display()),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
    ];
    Process::start_owning(
        Some(folder),
        &assets.program("etcd"),
        arguments,
        &[],
        folder.join("etcd.log"),
    )
}

const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}"#;
