//! Jaeger's storage: its part of the configuration, and what it needs in the pod.
//!
//! Passwords come from Secrets, as files where Jaeger reads files and as environment variables
//! elsewhere. The configuration only refers to them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, PersistentVolumeClaimVolumeSource, SecretKeySelector,
    SecretVolumeSource, Volume, VolumeMount,
};
use serde_json::{Value, json};
use spoor_api::stack::{
    Backend, Cassandra, ClickHouse, ObjectName, SearchCluster, Stack, Storage, Tls,
};

use crate::stacks::objects::{labels::Component, workload::read_only_mount};

/// The mount path of Badger's volume.
const BADGER: &str = "/badger";
const CREDENTIALS: &str = "/etc/jaeger/credentials";
const CA: &str = "/etc/jaeger/ca";
const CERTIFICATE: &str = "/etc/jaeger/certificate";
const USERNAME: &str = "STORAGE_USERNAME";
const PASSWORD: &str = "STORAGE_PASSWORD";

/// The needs of a storage in the pod and in the configuration.
#[derive(Debug, Default)]
pub struct Needs {
    /// The configuration of the backend.
    pub backend: Value,
    /// The credentials that Jaeger reads from its environment.
    pub env: Vec<EnvVar>,
    /// The volumes of Secrets and claims.
    pub volumes: Vec<Volume>,
    /// Their mounts in the container.
    pub mounts: Vec<VolumeMount>,
}

/// The needs of a stack's storage.
#[must_use]
pub fn needs(stack: &Stack, storage: &Storage) -> Needs {
    match storage {
        Storage::Memory { max_traces } => Needs {
            backend: json!({"memory": {"max_traces": max_traces}}),
            ..Needs::default()
        },
        Storage::Badger { retention, .. } => badger(stack, *retention),
        Storage::External { backend, .. } => match backend {
            Backend::OpenSearch(search) => self::search("opensearch", search),
            Backend::Elasticsearch(search) => self::search("elasticsearch", search),
            Backend::Cassandra(cassandra) => self::cassandra(cassandra),
            Backend::ClickHouse(clickhouse) => self::clickhouse(clickhouse),
        },
    }
}

fn badger(stack: &Stack, retention: Duration) -> Needs {
    let directory = |name: &str| format!("{BADGER}/{name}");
    Needs {
        backend: json!({"badger": {
            "ephemeral": false,
            "directories": {"keys": directory("keys"), "values": directory("values")},
            "ttl": {"spans": format!("{}s", retention.as_secs())},
        }}),
        volumes: vec![Volume {
            name: "badger".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: Component::Jaeger.name_in(stack),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        }],
        mounts: vec![VolumeMount {
            name: "badger".to_owned(),
            mount_path: BADGER.to_owned(),
            ..VolumeMount::default()
        }],
        env: vec![],
    }
}

fn search(kind: &str, storage: &SearchCluster) -> Needs {
    let mut needs = Needs::default();
    let mut backend = json!({"server_urls": literals(&storage.urls)});
    if let Some(prefix) = &storage.index_prefix {
        backend["indices"] = json!({"index_prefix": literal(prefix)});
    }
    if let Some(credentials) = &storage.credentials {
        let username = needs.variable(USERNAME, credentials, "username");
        needs.secret("credentials", credentials, CREDENTIALS, &["password"]);
        backend["auth"] = json!({"basic": {
            "username": username,
            // A file, so that a password can be rotated without a restart.
            "password_file": format!("{CREDENTIALS}/password"),
            "reload_interval": "10s",
        }});
    }
    if let Some(tls) = &storage.tls {
        backend["tls"] = needs.tls(tls);
    }
    needs.backend = json!({kind: backend});
    needs
}

fn cassandra(storage: &Cassandra) -> Needs {
    let mut needs = Needs::default();
    let mut connection = json!({
        "servers": literals(&storage.hosts),
        "local_dc": literal(&storage.datacenter),
        // Jaeger's Cassandra client uses TLS unless this is set.
        "tls": {"insecure": true},
    });
    if let Some(credentials) = &storage.credentials {
        connection["auth"] = needs.login(credentials);
    }
    if let Some(tls) = &storage.tls {
        connection["tls"] = needs.tls(tls);
    }
    needs.backend = json!({"cassandra": {
        "schema": {
            "keyspace": literal(&storage.keyspace),
            "datacenter": literal(&storage.datacenter),
            "create": true,
        },
        "connection": connection,
    }});
    needs
}

fn clickhouse(storage: &ClickHouse) -> Needs {
    let mut needs = Needs::default();
    let mut backend = json!({
        "addresses": literals(&storage.addresses),
        "database": literal(&storage.database),
        "create_schema": true,
    });
    if let Some(credentials) = &storage.credentials {
        backend["auth"] = needs.login(credentials);
    }
    if let Some(tls) = &storage.tls {
        backend["tls"] = needs.tls(tls);
    }
    needs.backend = json!({"clickhouse": backend});
    needs
}

impl Needs {
    fn login(&mut self, credentials: &ObjectName) -> Value {
        json!({"basic": {
            "username": self.variable(USERNAME, credentials, "username"),
            "password": self.variable(PASSWORD, credentials, "password"),
        }})
    }

    fn tls(&mut self, tls: &Tls) -> Value {
        let mut fields = json!({});
        if let Some(secret) = &tls.ca {
            self.secret("ca", secret, CA, &["ca.crt"]);
            fields["ca_file"] = json!(format!("{CA}/ca.crt"));
        }
        if let Some(secret) = &tls.certificate {
            let keys = ["tls.crt", "tls.key"];
            self.secret("certificate", secret, CERTIFICATE, &keys);
            fields["cert_file"] = json!(format!("{CERTIFICATE}/tls.crt"));
            fields["key_file"] = json!(format!("{CERTIFICATE}/tls.key"));
            // Certificates are renewed in place, and Jaeger should not need a restart for it.
            fields["reload_interval"] = json!("1m");
        }
        if let Some(server) = &tls.server_name {
            fields["server_name_override"] = json!(literal(server));
        }
        fields
    }

    /// Adds an environment variable from a Secret. Returns a reference to it that is read as text:
    /// a reference alone would be read as YAML, which turns a numeric password into a number; next
    /// to another reference, though empty, it stays text.
    fn variable(&mut self, variable: &str, secret: &ObjectName, key: &str) -> String {
        self.env.push(EnvVar {
            name: variable.to_owned(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: secret.to_string(),
                    key: key.to_owned(),
                    optional: None,
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        });
        format!("${{env:{variable}}}${{env:STORAGE_NOTHING:-}}")
    }

    fn secret(&mut self, volume: &str, secret: &ObjectName, path: &str, keys: &[&str]) {
        let items = keys.iter().map(|key| KeyToPath {
            key: (*key).to_owned(),
            path: (*key).to_owned(),
            mode: None,
        });
        self.volumes.push(Volume {
            name: volume.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_string()),
                items: Some(items.collect()),
                // Readable for the pod's group, which `fsGroup` sets, and for nobody else.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
        self.mounts.push(read_only_mount(volume, path));
    }
}

/// Escapes a text for Jaeger's configuration, where `$` begins a reference.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn literals<T: ToString>(texts: &[T]) -> Vec<String> {
    texts
        .iter()
        .map(|text| literal(&text.to_string()))
        .collect()
}
