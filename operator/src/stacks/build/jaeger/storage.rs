//! Jaeger's storage: its part of the configuration, and what it needs in the pod.
//!
//! Passwords come from Secrets, as files where Jaeger reads files and as environment variables
//! elsewhere. The configuration only refers to them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, PersistentVolumeClaimVolumeSource, SecretKeySelector,
    SecretVolumeSource, Volume, VolumeMount,
};
use serde_json::{Map, Value, json};
use spoor_api::stack::{Backend, Cassandra, ClickHouse, ObjectName, Search, Stack, Storage, Tls};

use super::name;

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
                claim_name: name(stack),
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

fn search(kind: &str, storage: &Search) -> Needs {
    let mut needs = Needs::default();
    let mut backend = Map::new();
    backend.insert("server_urls".to_owned(), json!(literals(&storage.urls)));
    if let Some(prefix) = &storage.index_prefix {
        backend.insert(
            "indices".to_owned(),
            json!({"index_prefix": literal(prefix)}),
        );
    }
    if let Some(credentials) = &storage.credentials {
        needs
            .env
            .push(from_secret(USERNAME, credentials, "username"));
        needs.secret(
            "credentials",
            credentials.as_str(),
            CREDENTIALS,
            &["password"],
        );
        backend.insert(
            "auth".to_owned(),
            json!({"basic": {
                "username": env_as_text(USERNAME),
                // A file, so that a password can be rotated without a restart.
                "password_file": format!("{CREDENTIALS}/password"),
                "reload_interval": "10s",
            }}),
        );
    }
    if let Some(tls) = &storage.tls {
        backend.insert("tls".to_owned(), needs.tls(tls));
    }
    needs.backend = json!({kind: backend});
    needs
}

fn cassandra(storage: &Cassandra) -> Needs {
    let mut needs = Needs::default();
    let mut connection = Map::new();
    connection.insert("servers".to_owned(), json!(literals(&storage.hosts)));
    connection.insert("local_dc".to_owned(), json!(literal(&storage.datacenter)));
    if let Some(credentials) = &storage.credentials {
        connection.insert(
            "auth".to_owned(),
            json!({"basic": needs.login(credentials)}),
        );
    }
    let tls = match &storage.tls {
        Some(tls) => needs.tls(tls),
        // Jaeger's Cassandra client uses TLS unless this is set.
        None => json!({"insecure": true}),
    };
    connection.insert("tls".to_owned(), tls);
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
    let mut backend = Map::new();
    backend.insert("addresses".to_owned(), json!(literals(&storage.addresses)));
    backend.insert("database".to_owned(), json!(literal(&storage.database)));
    backend.insert("create_schema".to_owned(), json!(true));
    if let Some(credentials) = &storage.credentials {
        backend.insert(
            "auth".to_owned(),
            json!({"basic": needs.login(credentials)}),
        );
    }
    if let Some(tls) = &storage.tls {
        backend.insert("tls".to_owned(), needs.tls(tls));
    }
    needs.backend = json!({"clickhouse": backend});
    needs
}

impl Needs {
    fn login(&mut self, credentials: &ObjectName) -> Value {
        self.env
            .push(from_secret(USERNAME, credentials, "username"));
        self.env
            .push(from_secret(PASSWORD, credentials, "password"));
        json!({
            "username": env_as_text(USERNAME),
            "password": env_as_text(PASSWORD),
        })
    }

    fn tls(&mut self, tls: &Tls) -> Value {
        let mut fields = Map::new();
        if let Some(secret) = &tls.ca {
            self.secret("ca", secret.as_str(), CA, &["ca.crt"]);
            fields.insert("ca_file".to_owned(), json!(format!("{CA}/ca.crt")));
        }
        if let Some(secret) = &tls.certificate {
            self.secret(
                "certificate",
                secret.as_str(),
                CERTIFICATE,
                &["tls.crt", "tls.key"],
            );
            fields.insert(
                "cert_file".to_owned(),
                json!(format!("{CERTIFICATE}/tls.crt")),
            );
            fields.insert(
                "key_file".to_owned(),
                json!(format!("{CERTIFICATE}/tls.key")),
            );
            // Certificates are renewed in place, and Jaeger should not need a restart for it.
            fields.insert("reload_interval".to_owned(), json!("1m"));
        }
        if let Some(server) = &tls.server_name {
            fields.insert("server_name_override".to_owned(), json!(literal(server)));
        }
        Value::Object(fields)
    }

    fn secret(&mut self, volume: &str, secret: &str, path: &str, keys: &[&str]) {
        let items = keys.iter().map(|key| KeyToPath {
            key: (*key).to_owned(),
            path: (*key).to_owned(),
            mode: None,
        });
        self.volumes.push(Volume {
            name: volume.to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.to_owned()),
                items: Some(items.collect()),
                // Readable for the pod's group, which `fsGroup` sets, and for nobody else.
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
        self.mounts.push(VolumeMount {
            name: volume.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
}

/// A reference to an environment variable that is read as text. A reference alone would be read as
/// YAML, which turns a numeric password into a number; next to another reference, though empty, it
/// stays text.
fn env_as_text(variable: &str) -> String {
    format!("${{env:{variable}}}${{env:STORAGE_NOTHING:-}}")
}

fn from_secret(variable: &str, credentials: &ObjectName, key: &str) -> EnvVar {
    EnvVar {
        name: variable.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: credentials.to_string(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
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
