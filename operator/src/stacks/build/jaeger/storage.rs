//! The parts of Jaeger's configuration and pod that depend on its storage.
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
const BADGER_PATH: &str = "/badger";
const CREDENTIALS_PATH: &str = "/etc/jaeger/credentials";
const CA_PATH: &str = "/etc/jaeger/ca";
const CERTIFICATE_PATH: &str = "/etc/jaeger/certificate";
const USERNAME_VARIABLE: &str = "STORAGE_USERNAME";
const PASSWORD_VARIABLE: &str = "STORAGE_PASSWORD";

/// The parts of Jaeger's configuration and pod that depend on its storage.
#[derive(Debug, Default)]
pub struct StorageParts {
    /// The configuration of the backend.
    pub backend: Value,
    /// The credentials that Jaeger reads from its environment.
    pub env: Vec<EnvVar>,
    /// The volumes of Secrets and of Badger.
    pub volumes: Vec<Volume>,
    /// Their mounts in the container.
    pub mounts: Vec<VolumeMount>,
}

/// Builds the parts for a stack's storage.
#[must_use]
pub fn parts(stack: &Stack, storage: &Storage) -> StorageParts {
    match storage {
        Storage::Memory { max_traces } => StorageParts {
            backend: json!({"memory": {"max_traces": max_traces}}),
            ..StorageParts::default()
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

fn badger(stack: &Stack, retention: Duration) -> StorageParts {
    let directory = |name: &str| format!("{BADGER_PATH}/{name}");
    StorageParts {
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
            mount_path: BADGER_PATH.to_owned(),
            ..VolumeMount::default()
        }],
        env: vec![],
    }
}

fn search(kind: &str, storage: &SearchCluster) -> StorageParts {
    let mut parts = StorageParts::default();
    let mut backend = json!({"server_urls": literals(&storage.urls)});
    if let Some(prefix) = &storage.index_prefix {
        backend["indices"] = json!({"index_prefix": literal(prefix)});
    }
    if let Some(credentials) = &storage.credentials {
        let username = parts.add_variable(USERNAME_VARIABLE, credentials, "username");
        parts.mount_secret("credentials", credentials, CREDENTIALS_PATH, &["password"]);
        backend["auth"] = json!({"basic": {
            "username": username,
            // A file, so that a password can be rotated without a restart.
            "password_file": format!("{CREDENTIALS_PATH}/password"),
            "reload_interval": "10s",
        }});
    }
    parts.add_tls(&mut backend, storage.tls.as_ref());
    parts.backend = json!({kind: backend});
    parts
}

fn cassandra(storage: &Cassandra) -> StorageParts {
    let mut parts = StorageParts::default();
    let mut connection = json!({
        "servers": literals(&storage.hosts),
        "local_dc": literal(&storage.datacenter),
        // Jaeger's Cassandra client uses TLS unless this is set.
        "tls": {"insecure": true},
    });
    parts.add_basic_auth(&mut connection, storage.credentials.as_ref());
    parts.add_tls(&mut connection, storage.tls.as_ref());
    parts.backend = json!({"cassandra": {
        "schema": {
            "keyspace": literal(&storage.keyspace),
            "datacenter": literal(&storage.datacenter),
            "create": true,
        },
        "connection": connection,
    }});
    parts
}

fn clickhouse(storage: &ClickHouse) -> StorageParts {
    let mut parts = StorageParts::default();
    let mut backend = json!({
        "addresses": literals(&storage.addresses),
        "database": literal(&storage.database),
        "create_schema": true,
    });
    parts.add_basic_auth(&mut backend, storage.credentials.as_ref());
    parts.add_tls(&mut backend, storage.tls.as_ref());
    parts.backend = json!({"clickhouse": backend});
    parts
}

impl StorageParts {
    fn add_basic_auth(&mut self, backend: &mut Value, credentials: Option<&ObjectName>) {
        if let Some(credentials) = credentials {
            backend["auth"] = json!({"basic": {
                "username": self.add_variable(USERNAME_VARIABLE, credentials, "username"),
                "password": self.add_variable(PASSWORD_VARIABLE, credentials, "password"),
            }});
        }
    }

    fn add_tls(&mut self, backend: &mut Value, tls: Option<&Tls>) {
        let Some(tls) = tls else { return };
        let mut fields = json!({});
        if let Some(secret) = &tls.ca {
            self.mount_secret("ca", secret, CA_PATH, &["ca.crt"]);
            fields["ca_file"] = json!(format!("{CA_PATH}/ca.crt"));
        }
        if let Some(secret) = &tls.certificate {
            let keys = ["tls.crt", "tls.key"];
            self.mount_secret("certificate", secret, CERTIFICATE_PATH, &keys);
            fields["cert_file"] = json!(format!("{CERTIFICATE_PATH}/tls.crt"));
            fields["key_file"] = json!(format!("{CERTIFICATE_PATH}/tls.key"));
            // Certificates are renewed in place, and Jaeger should not need a restart for that.
            fields["reload_interval"] = json!("1m");
        }
        if let Some(server) = &tls.server_name {
            fields["server_name_override"] = json!(literal(server));
        }
        backend["tls"] = fields;
    }

    /// Adds an environment variable from a Secret. Returns a reference to it whose value is read as
    /// text: the value of a single reference would be parsed as YAML, which turns a numeric
    /// password into a number. A second reference, to an empty value, prevents that.
    fn add_variable(&mut self, variable: &str, secret: &ObjectName, key: &str) -> String {
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

    fn mount_secret(&mut self, volume: &str, secret: &ObjectName, path: &str, keys: &[&str]) {
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
                // Readable by the pod's group, which `fsGroup` sets, and by no other user.
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
    let texts = texts.iter().map(|text| literal(&text.to_string()));
    texts.collect()
}
