//! The storage of a stack's Jaeger.

use std::time::Duration;

use super::{Address, ObjectName, Quantity};

/// The storage of traces. Only external storage can be shared by several pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Memory of the single pod.
    Memory {
        /// The number of traces kept.
        max_traces: u32,
    },
    /// A volume of the single pod.
    Badger {
        /// The volume's size.
        size: Quantity,
        /// The volume's StorageClass, or `None` for the cluster's default.
        storage_class_name: Option<ObjectName>,
        /// The time for which traces are kept.
        retention: Duration,
    },
    /// A database that the operator does not run.
    External {
        /// The number of pods that share it.
        replicas: u16,
        /// The database.
        backend: Backend,
    },
}

/// An external database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// OpenSearch.
    OpenSearch(SearchCluster),
    /// Elasticsearch.
    Elasticsearch(SearchCluster),
    /// Cassandra.
    Cassandra(Cassandra),
    /// ClickHouse.
    ClickHouse(ClickHouse),
}

/// OpenSearch or Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchCluster {
    /// The nodes of the cluster, at least one.
    pub urls: Vec<String>,
    /// The prefix of index names.
    pub index_prefix: Option<String>,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// TLS settings. If set, all URLs are `https`.
    pub tls: Option<Tls>,
}

/// Cassandra.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cassandra {
    /// The nodes of the cluster, at least one, all with a port.
    pub hosts: Vec<Address>,
    /// The keyspace.
    pub keyspace: String,
    /// The data centre in which the keyspace is created.
    pub datacenter: String,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// TLS settings, or `None` for connections without TLS.
    pub tls: Option<Tls>,
}

/// ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClickHouse {
    /// The nodes of the cluster, at least one.
    pub addresses: Vec<Address>,
    /// The database.
    pub database: String,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// TLS settings, or `None` for connections without TLS. Only with a custom image: the default
    /// one does not support it.
    pub tls: Option<Tls>,
}

/// TLS settings of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A Secret with `ca.crt`, or `None` for the authorities in the image.
    pub ca: Option<ObjectName>,
    /// A Secret with the client certificate in `tls.crt` and `tls.key`.
    pub certificate: Option<ObjectName>,
    /// The name to verify in the server's certificate, or `None` for its host.
    pub server_name: Option<String>,
}

impl Storage {
    /// The default of `maxTraces`.
    pub const DEFAULT_MAX_TRACES: u32 = 50_000;
    /// The default of Badger's `size`.
    pub const DEFAULT_SIZE: &str = "10Gi";
    /// The default of Badger's `retention`.
    pub const DEFAULT_RETENTION: Duration = Duration::from_secs(72 * 3600);

    /// The number of Jaeger's pods.
    #[must_use]
    pub fn replicas(&self) -> u16 {
        match self {
            Self::Memory { .. } | Self::Badger { .. } => 1,
            Self::External { replicas, .. } => *replicas,
        }
    }

    /// The name of the storage in the status.
    #[must_use]
    pub fn status_name(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "Memory",
            Self::Badger { .. } => "Badger",
            Self::External { backend, .. } => match backend {
                Backend::OpenSearch(_) => "OpenSearch",
                Backend::Elasticsearch(_) => "Elasticsearch",
                Backend::Cassandra(_) => "Cassandra",
                Backend::ClickHouse(_) => "ClickHouse",
            },
        }
    }
}
