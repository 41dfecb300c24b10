//! Where Jaeger holds traces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Credentials, Quantity, TlsSpec};

/// Where traces are held. Exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// In Jaeger's memory: gone when its pod goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySpec>,
    /// On a volume of Jaeger's only pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badger: Option<BadgerSpec>,
    /// In an OpenSearch cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opensearch: Option<ElasticsearchSpec>,
    /// In an Elasticsearch cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchSpec>,
    /// In a Cassandra cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<CassandraSpec>,
    /// In ClickHouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clickhouse: Option<ClickhouseSpec>,
}

/// Traces in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySpec {
    /// How many traces are held before the oldest goes; none: 50000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_traces: Option<i32>,
}

/// Traces on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BadgerSpec {
    /// The volume's size; none: `10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// The volume's StorageClass; none: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"standard")]
    pub storage_class_name: Option<String>,
    /// How long traces are held, from `1h` to `365d`, in days (`7d`) or as a duration (`36h`);
    /// none: `72h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"7d")]
    pub retention: Option<String>,
}

/// Traces in OpenSearch or Elasticsearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchSpec {
    /// Its nodes, such as `https://opensearch:9200`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub urls: Vec<String>,
    /// What the names of Jaeger's indices begin with; none: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"spoor")]
    pub index_prefix: Option<String>,
    /// As whom Jaeger logs in; none: as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// How Jaeger checks its certificate; none: by the certificate authorities in Jaeger's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Traces in Cassandra.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CassandraSpec {
    /// Its nodes, each a host or `host:port`; without a port: 9042.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,
    /// The keyspace; none: `jaeger_v1_dc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 48), example = &"jaeger_v1_dc1")]
    pub keyspace: Option<String>,
    /// The data centre that the keyspace is made in; none: `dc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"dc1")]
    pub datacenter: Option<String>,
    /// As whom Jaeger logs in; none: as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Connects over TLS: `tls: {}` checks by the certificate authorities in Jaeger's image. None:
    /// without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Traces in ClickHouse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClickhouseSpec {
    /// Its nodes, each `host:port` of its native protocol.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
    /// The database; none: `jaeger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"jaeger")]
    pub database: Option<String>,
    /// As whom Jaeger logs in; none: as ClickHouse's user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Connects over TLS: `tls: {}` checks by the certificate authorities in Jaeger's image. None:
    /// without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}
