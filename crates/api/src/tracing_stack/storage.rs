//! The storage of a stack's Jaeger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CredentialsSpec, Quantity, TlsSpec};

/// The storage of traces. Exactly one field must be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// Memory of Jaeger's pod. Traces are lost when the pod ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySpec>,
    /// Volume of Jaeger's single pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badger: Option<BadgerSpec>,
    /// OpenSearch cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // A fork of Elasticsearch with the same settings. Jaeger distinguishes the two.
    pub opensearch: Option<ElasticsearchSpec>,
    /// Elasticsearch cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elasticsearch: Option<ElasticsearchSpec>,
    /// Cassandra cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<CassandraSpec>,
    /// ClickHouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clickhouse: Option<ClickhouseSpec>,
}

/// Storage in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySpec {
    /// Number of traces to keep before the oldest is dropped. Defaults to 50000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_traces: Option<i32>,
}

/// Storage on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BadgerSpec {
    /// Size of the volume. Defaults to `10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// StorageClass of the volume. Defaults to the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), example = &"standard")]
    pub storage_class_name: Option<String>,
    /// Time to keep traces, from `1h` to `365d`, in days (`7d`) or as a duration (`36h`). Defaults
    /// to `72h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), example = &"7d")]
    pub retention: Option<String>,
}

/// Storage in OpenSearch or Elasticsearch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElasticsearchSpec {
    /// URLs of the cluster's nodes, such as `https://opensearch:9200`.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub urls: Vec<String>,
    /// Prefix of the names of Jaeger's indices. If unset, there is no prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"spoor")]
    pub index_prefix: Option<String>,
    /// Credentials Jaeger uses. If unset, Jaeger connects anonymously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// TLS settings for `https` URLs. Defaults to the certificate authorities in Jaeger's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Storage in Cassandra.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CassandraSpec {
    /// Nodes of the cluster, each `host` or `host:port`. The port defaults to 9042.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,
    /// Keyspace. Defaults to `jaeger_v1_dc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 48), example = &"jaeger_v1_dc1")]
    pub keyspace: Option<String>,
    /// Data centre in which the keyspace is created. Defaults to `dc1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"dc1")]
    pub datacenter: Option<String>,
    /// Credentials Jaeger uses. If unset, Jaeger connects anonymously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// TLS settings. With `tls: {}`, the server is verified with the certificate authorities in
    /// Jaeger's image. If unset, Jaeger connects without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Storage in ClickHouse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClickhouseSpec {
    /// Nodes of ClickHouse, each `host:port` of the native protocol.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 260)), extend("x-kubernetes-list-type" = "set"))]
    pub addresses: Vec<String>,
    /// Database. Defaults to `jaeger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), example = &"jaeger")]
    pub database: Option<String>,
    /// Credentials Jaeger uses. Defaults to ClickHouse's user `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,
    /// TLS settings. With `tls: {}`, the server is verified with the certificate authorities in
    /// Jaeger's image. If unset, Jaeger connects without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}
