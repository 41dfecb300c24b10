//! Validation of a stack's storage.

use std::time::Duration;

use super::{Address, Backend, Cassandra, ClickHouse, ObjectName, SearchCluster, Storage, Tls};
use crate::{
    FieldPath,
    errors::{Checked, Errors},
    formats::{self, Format},
    problem,
    tracing_stack::{
        BadgerSpec, CassandraSpec, ClickhouseSpec, CredentialsSpec, ElasticsearchSpec, MemorySpec,
        Quantity, StorageSpec, TlsSpec,
    },
};

impl Storage {
    /// The largest `maxTraces` of storage in memory.
    pub(crate) const MAX_MEMORY_TRACES: u32 = 10_000_000;
    /// The most nodes of a database that may be listed.
    pub(crate) const MAX_NODES: usize = 16;
    /// The limits of `retention`.
    pub(crate) const RETENTION_LIMITS: (Duration, Duration) =
        (Duration::from_secs(3600), Duration::from_secs(8760 * 3600));
    const DEFAULT_KEYSPACE: &str = "jaeger_v1_dc1";
    const DEFAULT_DATACENTER: &str = "dc1";
    const DEFAULT_DATABASE: &str = "jaeger";
    const CASSANDRA_PORT: u16 = 9042;
}

impl Errors {
    /// Checks the storage. `at` is Jaeger's path, since `replicas` is a sibling of `storage`.
    pub(super) fn storage(
        &mut self,
        spec: &Option<StorageSpec>,
        replicas: u16,
        at: &FieldPath,
    ) -> Checked<Storage> {
        let default = StorageSpec {
            memory: Some(MemorySpec::default()),
            ..StorageSpec::default()
        };
        let spec = spec.as_ref().unwrap_or(&default);
        let (at, replicas_at) = (&at.field("storage"), at.field("replicas"));
        let external = |backend| Storage::External { replicas, backend };
        // All are checked, even if several are set.
        let storages = [
            spec.memory.as_ref().map(|it| self.memory(it, at)),
            spec.badger.as_ref().map(|it| self.badger(it, at)),
            spec.opensearch.as_ref().map(|it| {
                let search = self.search(it, &at.field("opensearch"));
                search.map(Backend::OpenSearch).map(external)
            }),
            spec.elasticsearch.as_ref().map(|it| {
                let search = self.search(it, &at.field("elasticsearch"));
                search.map(Backend::Elasticsearch).map(external)
            }),
            spec.cassandra.as_ref().map(|it| {
                let cassandra = self.cassandra(it, &at.field("cassandra"));
                cassandra.map(Backend::Cassandra).map(external)
            }),
            spec.clickhouse.as_ref().map(|it| {
                let clickhouse = self.clickhouse(it, &at.field("clickhouse"));
                clickhouse.map(Backend::ClickHouse).map(external)
            }),
        ];
        let mut storages = storages.into_iter().flatten();
        match (storages.next(), storages.next()) {
            (None, _) => Err(self.report(at.clone(), problem::STORAGE_NONE)),
            (Some(_), Some(_)) => Err(self.report(at.clone(), problem::STORAGE_SEVERAL)),
            (Some(Ok(storage)), None) if storage.replicas() < replicas => {
                Err(self.report(replicas_at, problem::REPLICAS))
            }
            (Some(storage), None) => storage,
        }
    }

    fn memory(&mut self, spec: &MemorySpec, at: &FieldPath) -> Checked<Storage> {
        let at = at.field("memory").field("maxTraces");
        let default = Storage::DEFAULT_MAX_TRACES;
        let max_traces = self.count(spec.max_traces, default, Storage::MAX_MEMORY_TRACES, at)?;
        Ok(Storage::Memory { max_traces })
    }

    fn badger(&mut self, spec: &BadgerSpec, at: &FieldPath) -> Checked<Storage> {
        let at = at.field("badger");
        let default = Quantity(Storage::DEFAULT_SIZE.to_owned());
        let size = spec.size.clone().unwrap_or(default);
        let size_at = at.field("size");
        let amount = self.check(size_at.clone(), size.millionths());
        if let Ok(0) = amount {
            self.add(size_at, problem::SIZE);
        }
        let class = at.field("storageClassName");
        let storage_class_name = self.object_name(&spec.storage_class_name, class);
        let retention = self.duration(
            &formats::RETENTION,
            &spec.retention,
            Storage::DEFAULT_RETENTION,
            Storage::RETENTION_LIMITS,
            at.field("retention"),
        );
        // The size is kept as written. This only ensures that it is valid.
        amount?;
        Ok(Storage::Badger {
            size,
            storage_class_name: storage_class_name?,
            retention: retention?,
        })
    }

    fn search(&mut self, spec: &ElasticsearchSpec, at: &FieldPath) -> Checked<SearchCluster> {
        let urls = self.nodes(&formats::SEARCH_URL, &spec.urls, &at.field("urls"));
        let prefix_at = at.field("indexPrefix");
        let index_prefix =
            self.optional_text(&formats::INDEX_PREFIX, &spec.index_prefix, prefix_at);
        let credentials = self.credentials(&spec.credentials, at);
        let tls = self.tls(&spec.tls, &at.field("tls"));
        if spec.tls.is_some() && !spec.urls.iter().all(|url| url.starts_with("https://")) {
            self.add(at.field("tls"), problem::SEARCH_TLS);
        }
        Ok(SearchCluster {
            urls: urls?,
            index_prefix: index_prefix?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn cassandra(&mut self, spec: &CassandraSpec, at: &FieldPath) -> Checked<Cassandra> {
        let hosts = self.addresses(&formats::HOST, &spec.hosts, &at.field("hosts"));
        let keyspace = self.text_or(
            &formats::KEYSPACE,
            &spec.keyspace,
            Storage::DEFAULT_KEYSPACE,
            at.field("keyspace"),
        );
        let datacenter = self.text_or(
            &formats::DATACENTER,
            &spec.datacenter,
            Storage::DEFAULT_DATACENTER,
            at.field("datacenter"),
        );
        let credentials = self.credentials(&spec.credentials, at);
        let tls = self.tls(&spec.tls, &at.field("tls"));
        Ok(Cassandra {
            hosts: hosts?,
            keyspace: keyspace?,
            datacenter: datacenter?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn clickhouse(&mut self, spec: &ClickhouseSpec, at: &FieldPath) -> Checked<ClickHouse> {
        let addresses_at = at.field("addresses");
        let addresses = self.addresses(&formats::ADDRESS, &spec.addresses, &addresses_at);
        let database = self.text_or(
            &formats::DATABASE,
            &spec.database,
            Storage::DEFAULT_DATABASE,
            at.field("database"),
        );
        let credentials = self.credentials(&spec.credentials, at);
        let tls = self.tls(&spec.tls, &at.field("tls"));
        Ok(ClickHouse {
            addresses: addresses?,
            database: database?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    /// Checks a database's nodes: at least one, and no duplicates.
    fn nodes(&mut self, format: &Format, nodes: &[String], at: &FieldPath) -> Checked<Vec<String>> {
        let before = self.len();
        if nodes.is_empty() {
            self.add(at.clone(), "must have at least one entry");
        }
        self.at_most(nodes.len(), Storage::MAX_NODES, at);
        self.distinct(nodes, |index| at.index(index));
        for (index, node) in nodes.iter().enumerate() {
            self.require(at.index(index), format.check(node));
        }
        self.none_since(before)?;
        Ok(nodes.to_vec())
    }

    /// Checks a database's nodes, which get a port if they have none.
    fn addresses(
        &mut self,
        format: &Format,
        nodes: &[String],
        at: &FieldPath,
    ) -> Checked<Vec<Address>> {
        // Checked before ports are added, so that errors show the text as written.
        let nodes = self.nodes(format, nodes, at)?.into_iter().enumerate();
        let address = |(index, mut node): (usize, String)| {
            // Only the format of Cassandra's hosts makes the port optional.
            if !node.contains(':') {
                node = format!("{node}:{}", Storage::CASSANDRA_PORT);
            }
            self.check(at.index(index), Address::new(&node))
        };
        nodes.map(address).collect()
    }

    fn credentials(
        &mut self,
        credentials: &Option<CredentialsSpec>,
        at: &FieldPath,
    ) -> Checked<Option<ObjectName>> {
        let name = credentials.as_ref().map(|it| it.secret_name.clone());
        self.object_name(&name, at.field("credentials").field("secretName"))
    }

    fn tls(&mut self, spec: &Option<TlsSpec>, at: &FieldPath) -> Checked<Option<Tls>> {
        let Some(spec) = spec else {
            return Ok(None);
        };
        let ca = self.object_name(&spec.ca_secret_name, at.field("caSecretName"));
        let certificate = self.object_name(&spec.cert_secret_name, at.field("certSecretName"));
        let name_at = at.field("serverName");
        let server_name = self.optional_text(&formats::SERVER_NAME, &spec.server_name, name_at);
        Ok(Some(Tls {
            ca: ca?,
            certificate: certificate?,
            server_name: server_name?,
        }))
    }
}
