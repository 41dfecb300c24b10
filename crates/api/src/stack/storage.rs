//! Where a stack's Jaeger holds traces.

use std::time::Duration;

use super::{Address, ObjectName, Quantity};

/// Where traces are held. More than one Jaeger can only share what is outside of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In the memory of the only pod.
    Memory {
        /// How many are held.
        max_traces: u32,
    },
    /// On a volume of the only pod.
    Badger {
        /// The volume's size.
        size: Quantity,
        /// Its StorageClass; none: the cluster's default.
        storage_class_name: Option<ObjectName>,
        /// How long traces are held.
        retention: Duration,
    },
    /// In a database that somebody else runs.
    Outside {
        /// How many Jaegers share it.
        replicas: u16,
        /// The database.
        backend: Backend,
    },
}

/// A database outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// OpenSearch.
    OpenSearch(Search),
    /// Elasticsearch.
    Elasticsearch(Search),
    /// Cassandra.
    Cassandra(Cassandra),
    /// ClickHouse.
    ClickHouse(ClickHouse),
}

/// OpenSearch or Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Search {
    /// Its nodes, at least one.
    pub urls: Vec<String>,
    /// What the names of indices begin with.
    pub index_prefix: Option<String>,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// How its certificate is checked; the URLs are then all `https`.
    pub tls: Option<Tls>,
}

/// Cassandra.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cassandra {
    /// Its nodes, at least one, all with a port.
    pub hosts: Vec<Address>,
    /// The keyspace.
    pub keyspace: String,
    /// The data centre that the keyspace is made in.
    pub datacenter: String,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// How it is connected over TLS; none: without.
    pub tls: Option<Tls>,
}

/// ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClickHouse {
    /// Its nodes, at least one.
    pub addresses: Vec<Address>,
    /// The database.
    pub database: String,
    /// A Secret with `username` and `password`.
    pub credentials: Option<ObjectName>,
    /// How it is connected over TLS; none: without. Only with an image that was named: the
    /// default one can't.
    pub tls: Option<Tls>,
}

/// How a server's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// A Secret with `ca.crt`; none: the authorities in the image.
    pub ca: Option<ObjectName>,
    /// A Secret with `tls.crt` and `tls.key` to show.
    pub certificate: Option<ObjectName>,
    /// The name that the server's certificate must have; none: its host.
    pub server_name: Option<String>,
}

impl Storage {
    /// `maxTraces` when none is said.
    pub const DEFAULT_MAX_TRACES: u32 = 50_000;
    /// Badger's `size` when none is said.
    pub const DEFAULT_SIZE: &str = "10Gi";
    /// Badger's `retention` when none is said.
    pub const DEFAULT_RETENTION: Duration = Duration::from_secs(72 * 3600);

    /// How many pods Jaeger has.
    #[must_use]
    pub fn replicas(&self) -> u16 {
        match self {
            Self::Memory { .. } | Self::Badger { .. } => 1,
            Self::Outside { replicas, .. } => *replicas,
        }
    }

    /// The word for the status.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Memory { .. } => "Memory",
            Self::Badger { .. } => "Badger",
            Self::Outside { backend, .. } => backend.word(),
        }
    }
}

impl Backend {
    /// The word for the status.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::OpenSearch(_) => "OpenSearch",
            Self::Elasticsearch(_) => "Elasticsearch",
            Self::Cassandra(_) => "Cassandra",
            Self::ClickHouse(_) => "ClickHouse",
        }
    }
}
