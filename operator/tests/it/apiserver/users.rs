use std::path::PathBuf;

use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};

use super::ApiServer;

impl ApiServer {
    /// A client with all permissions.
    pub fn admin(&self) -> Client {
        self.client(AuthInfo {
            client_certificate: Some(self.certificates.file("admin.crt")),
            client_key: Some(self.certificates.file("admin.key")),
            ..AuthInfo::default()
        })
    }

    /// A client with the identity of this token.
    pub fn with_token(&self, token: &str) -> Client {
        self.client(AuthInfo {
            token: Some(token.to_owned().into()),
            ..AuthInfo::default()
        })
    }

    /// A kubeconfig with this token, for a program. `name` is that of the file.
    pub fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        self.write_kubeconfig(name, json!({"token": token}))
    }

    /// A kubeconfig with all permissions, for `kubectl`.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        let file = |name: &str| self.certificates.file(name);
        let user =
            json!({"client-certificate": file("admin.crt"), "client-key": file("admin.key")});
        self.write_kubeconfig("admin", user)
    }

    fn client(&self, who: AuthInfo) -> Client {
        let mut config = Config::new(self.url().parse().unwrap());
        config.root_cert_file = Some(self.certificates.file("ca.crt").into());
        config.auth_info = who;
        Client::try_from(config).unwrap()
    }

    fn write_kubeconfig(&self, name: &str, user: Value) -> PathBuf {
        let ca = self.certificates.file("ca.crt");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "test",
                "cluster": {"server": self.url(), "certificate-authority": ca},
            }],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        let path = self.folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }
}
