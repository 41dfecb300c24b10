//! Validation of a stack's storage.

use std::time::Duration;

use super::{Address, Backend, Cassandra, ClickHouse, ObjectName, SearchCluster, Storage, Tls};
use crate::{
    FieldPath,
    duration::{DAY, parse_days_or_duration},
    errors::{Checked, Errors, Reported},
    form::{self, Form},
    format_duration, problem,
    tracing_stack::{
        BadgerSpec, CassandraSpec, ClickhouseSpec, CredentialsSpec, ElasticsearchSpec, Quantity,
        StorageSpec, TlsSpec,
    },
};

impl Storage {
    /// The most of memory's `maxTraces`.
    pub(crate) const MAX_TRACES: u32 = 10_000_000;
    /// The most nodes of a database that are named.
    pub(crate) const MAX_NODES: usize = 16;
    /// The limits of `retention`.
    pub(crate) const RETENTION: (Duration, Duration) =
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
        spec: Option<&StorageSpec>,
        replicas: u16,
        at: &FieldPath,
    ) -> Checked<Storage> {
        let default = StorageSpec {
            memory: Some(Default::default()),
            ..StorageSpec::default()
        };
        let spec = spec.unwrap_or(&default);
        let (at, replicas_at) = (&at.field("storage"), at.field("replicas"));
        let members = [
            spec.memory.is_some(),
            spec.badger.is_some(),
            spec.opensearch.is_some(),
            spec.elasticsearch.is_some(),
            spec.cassandra.is_some(),
            spec.clickhouse.is_some(),
        ];
        let found = members.into_iter().filter(|is_there| *is_there).count();
        match found {
            0 => self.add(at.clone(), problem::STORAGE_NONE),
            1 => {}
            _ => self.add(at.clone(), problem::STORAGE_SEVERAL),
        }
        let inside = self.inside(spec, at).transpose();
        let backend = self.backend(spec, at);
        if let (1, Ok(Some(_))) = (found, &inside)
            && replicas > 1
        {
            return Err(self.report(replicas_at, problem::REPLICAS));
        }
        match (inside?, backend?) {
            (Some(inside), _) => Ok(inside),
            (None, Some(backend)) => Ok(Storage::External { replicas, backend }),
            // Reported above.
            (None, None) => Err(Reported),
        }
    }

    /// The storage in Jaeger's own pod, if there is one.
    fn inside(&mut self, spec: &StorageSpec, at: &FieldPath) -> Option<Checked<Storage>> {
        let Some(memory) = &spec.memory else {
            let badger = spec.badger.as_ref()?;
            return Some(self.badger(badger, &at.field("badger")));
        };
        let at = at.field("memory").field("maxTraces");
        let default = Storage::DEFAULT_MAX_TRACES;
        let max_traces = self.count(memory.max_traces, default, Storage::MAX_TRACES, at);
        Some(max_traces.map(|max_traces| Storage::Memory { max_traces }))
    }

    fn badger(&mut self, spec: &BadgerSpec, at: &FieldPath) -> Checked<Storage> {
        let default = Quantity(Storage::DEFAULT_SIZE.to_owned());
        let size = spec.size.clone().unwrap_or(default);
        let size_at = at.field("size");
        let amount = self.check(size_at.clone(), size.millionths());
        if let Ok(0) = amount {
            self.add(size_at, problem::SIZE);
        }
        let class = at.field("storageClassName");
        let storage_class_name = self.object_name(spec.storage_class_name.as_ref(), class);
        let retention = self.retention(spec.retention.as_ref(), at.field("retention"));
        // The size is kept as written. This only ensures that it is valid.
        amount?;
        Ok(Storage::Badger {
            size,
            storage_class_name: storage_class_name?,
            retention: retention?,
        })
    }

    fn retention(&mut self, text: Option<&String>, at: FieldPath) -> Checked<Duration> {
        let Some(text) = text else {
            return Ok(Storage::DEFAULT_RETENTION);
        };
        self.form(&form::RETENTION, text, at.clone())?;
        let retention = self.check(at.clone(), parse_days_or_duration(text))?;
        let (least, most) = Storage::RETENTION;
        if retention < least || retention > most {
            let days = most.as_secs() / DAY.as_secs();
            let least = format_duration(least);
            let problem = format!("must be from {least} to {days}d, not {text}");
            return Err(self.report(at, problem));
        }
        Ok(retention)
    }

    fn backend(&mut self, spec: &StorageSpec, at: &FieldPath) -> Checked<Option<Backend>> {
        let opensearch = spec.opensearch.as_ref().map(|search| {
            let search = self.search(search, &at.field("opensearch"));
            search.map(Backend::OpenSearch)
        });
        let elasticsearch = spec.elasticsearch.as_ref().map(|search| {
            let search = self.search(search, &at.field("elasticsearch"));
            search.map(Backend::Elasticsearch)
        });
        let cassandra = spec.cassandra.as_ref().map(|cassandra| {
            let cassandra = self.cassandra(cassandra, &at.field("cassandra"));
            cassandra.map(Backend::Cassandra)
        });
        let clickhouse = spec.clickhouse.as_ref().map(|clickhouse| {
            let clickhouse = self.clickhouse(clickhouse, &at.field("clickhouse"));
            clickhouse.map(Backend::ClickHouse)
        });
        // All are checked, also where several are set, which the caller reports.
        let found = opensearch.or(elasticsearch).or(cassandra).or(clickhouse);
        found.transpose()
    }

    fn search(&mut self, spec: &ElasticsearchSpec, at: &FieldPath) -> Checked<SearchCluster> {
        let urls = self.nodes(&form::SEARCH_URL, &spec.urls, &at.field("urls"));
        let index_prefix = spec.index_prefix.as_ref();
        let index_prefix = index_prefix
            .map(|prefix| self.form(&form::INDEX_PREFIX, prefix, at.field("indexPrefix")));
        let credentials = self.credentials(spec.credentials.as_ref(), at);
        let tls = self.tls(spec.tls.as_ref(), at);
        if spec.tls.is_some() && !spec.urls.iter().all(|url| url.starts_with("https://")) {
            self.add(at.field("tls"), problem::SEARCH_TLS);
        }
        Ok(SearchCluster {
            urls: urls?,
            index_prefix: index_prefix.transpose()?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn cassandra(&mut self, spec: &CassandraSpec, at: &FieldPath) -> Checked<Cassandra> {
        // Checked before ports are added, so that errors show the text as written.
        let hosts = self.nodes(&form::HOST, &spec.hosts, &at.field("hosts"));
        let hosts = hosts.map(|hosts| {
            let with_port = |host: &String| match host.contains(':') {
                true => host.clone(),
                false => format!("{host}:{}", Storage::CASSANDRA_PORT),
            };
            hosts.iter().map(with_port).collect::<Vec<_>>()
        });
        let hosts = hosts.and_then(|hosts| self.addresses(&hosts, &at.field("hosts")));
        let keyspace = self.form_or(
            &form::KEYSPACE,
            spec.keyspace.as_ref(),
            Storage::DEFAULT_KEYSPACE,
            at.field("keyspace"),
        );
        let datacenter = self.form_or(
            &form::DATACENTER,
            spec.datacenter.as_ref(),
            Storage::DEFAULT_DATACENTER,
            at.field("datacenter"),
        );
        let credentials = self.credentials(spec.credentials.as_ref(), at);
        let tls = self.tls(spec.tls.as_ref(), at);
        Ok(Cassandra {
            hosts: hosts?,
            keyspace: keyspace?,
            datacenter: datacenter?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn clickhouse(&mut self, spec: &ClickhouseSpec, at: &FieldPath) -> Checked<ClickHouse> {
        let nodes = self.nodes(&form::ADDRESS, &spec.addresses, &at.field("addresses"));
        let addresses = nodes.and_then(|nodes| self.addresses(&nodes, &at.field("addresses")));
        let database = self.form_or(
            &form::DATABASE,
            spec.database.as_ref(),
            Storage::DEFAULT_DATABASE,
            at.field("database"),
        );
        let credentials = self.credentials(spec.credentials.as_ref(), at);
        let tls = self.tls(spec.tls.as_ref(), at);
        Ok(ClickHouse {
            addresses: addresses?,
            database: database?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    /// Checks a database's nodes: at least one, and no duplicates.
    fn nodes(&mut self, form: &Form, nodes: &[String], at: &FieldPath) -> Checked<Vec<String>> {
        let before = self.len();
        if nodes.is_empty() {
            self.add(at.clone(), "must have at least one entry");
        }
        self.at_most(nodes.len(), Storage::MAX_NODES, at);
        self.distinct(nodes, |index| at.index(index));
        for (index, node) in nodes.iter().enumerate() {
            self.require(at.index(index), form.check(node));
        }
        self.none_since(before)?;
        Ok(nodes.to_vec())
    }

    fn addresses(&mut self, nodes: &[String], at: &FieldPath) -> Checked<Vec<Address>> {
        let indexed = nodes.iter().enumerate();
        indexed
            .map(|(index, node)| self.check(at.index(index), Address::new(node)))
            .collect()
    }

    fn credentials(
        &mut self,
        credentials: Option<&CredentialsSpec>,
        at: &FieldPath,
    ) -> Checked<Option<ObjectName>> {
        let name = credentials.map(|credentials| &credentials.secret_name);
        self.object_name(name, at.field("credentials").field("secretName"))
    }

    fn tls(&mut self, spec: Option<&TlsSpec>, at: &FieldPath) -> Checked<Option<Tls>> {
        let Some(spec) = spec else {
            return Ok(None);
        };
        let at = at.field("tls");
        let ca = self.object_name(spec.ca_secret_name.as_ref(), at.field("caSecretName"));
        let certificate =
            self.object_name(spec.cert_secret_name.as_ref(), at.field("certSecretName"));
        let server_name = spec.server_name.as_ref();
        let server_name =
            server_name.map(|name| self.form(&form::SERVER_NAME, name, at.field("serverName")));
        Ok(Some(Tls {
            ca: ca?,
            certificate: certificate?,
            server_name: server_name.transpose()?,
        }))
    }
}
