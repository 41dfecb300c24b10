//! Validation of a stack's storage.

use std::time::Duration;

use super::{Address, Backend, Cassandra, ClickHouse, ObjectName, Search, Storage, Tls};
use crate::{
    FieldPath,
    duration::{DAY, parse_days_or_duration},
    errors::Errors,
    form::{self, Form},
    format_duration, problem,
    tracing_stack::{
        BadgerSpec, CassandraSpec, ClickhouseSpec, Credentials, ElasticsearchSpec, Quantity,
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
    ) -> Option<Storage> {
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
        if found != 1 {
            let several = found > 1;
            self.add(
                at.clone(),
                if several {
                    problem::STORAGE_SEVERAL
                } else {
                    problem::STORAGE_NONE
                },
            );
        }
        let inside = self.inside(spec, at);
        let backend = self.backend(spec, at);
        if found == 1 && backend.is_none() && inside.is_some() && replicas > 1 {
            self.add(replicas_at, problem::REPLICAS);
            return None;
        }
        inside.or(backend.map(|backend| Storage::External { replicas, backend }))
    }

    fn inside(&mut self, spec: &StorageSpec, at: &FieldPath) -> Option<Storage> {
        if let Some(memory) = &spec.memory {
            let at = at.field("memory").field("maxTraces");
            let default = Storage::DEFAULT_MAX_TRACES;
            let max_traces = self.count(memory.max_traces, default, Storage::MAX_TRACES, at)?;
            return Some(Storage::Memory { max_traces });
        }
        let badger = spec.badger.as_ref()?;
        self.badger(badger, &at.field("badger"))
    }

    fn badger(&mut self, spec: &BadgerSpec, at: &FieldPath) -> Option<Storage> {
        let default = Quantity(Storage::DEFAULT_SIZE.to_owned());
        let size = spec.size.clone().unwrap_or(default);
        let size_at = at.field("size");
        let amount = self.check(size_at.clone(), size.millionths());
        if amount == Some(0) {
            self.add(size_at, problem::SIZE);
        }
        let class = at.field("storageClassName");
        let storage_class_name = self.object_name(spec.storage_class_name.as_ref(), class);
        let retention = self.retention(spec.retention.as_ref(), at.field("retention"));
        amount?;
        Some(Storage::Badger {
            size,
            storage_class_name: storage_class_name?,
            retention: retention?,
        })
    }

    fn retention(&mut self, text: Option<&String>, at: FieldPath) -> Option<Duration> {
        let Some(text) = text else {
            return Some(Storage::DEFAULT_RETENTION);
        };
        self.form(&form::RETENTION, text, at.clone())?;
        let retention = self.check(at.clone(), parse_days_or_duration(text))?;
        let (least, most) = Storage::RETENTION;
        if retention < least || retention > most {
            let days = most.as_secs() / DAY.as_secs();
            let least = format_duration(least);
            self.add(at, format!("must be from {least} to {days}d, not {text}"));
            return None;
        }
        Some(retention)
    }

    fn backend(&mut self, spec: &StorageSpec, at: &FieldPath) -> Option<Backend> {
        let mut found = vec![];
        if let Some(search) = &spec.opensearch {
            let search = self.search(search, &at.field("opensearch"));
            found.extend(search.map(Backend::OpenSearch));
        }
        if let Some(search) = &spec.elasticsearch {
            let search = self.search(search, &at.field("elasticsearch"));
            found.extend(search.map(Backend::Elasticsearch));
        }
        if let Some(cassandra) = &spec.cassandra {
            let cassandra = self.cassandra(cassandra, &at.field("cassandra"));
            found.extend(cassandra.map(Backend::Cassandra));
        }
        if let Some(clickhouse) = &spec.clickhouse {
            let clickhouse = self.clickhouse(clickhouse, &at.field("clickhouse"));
            found.extend(clickhouse.map(Backend::ClickHouse));
        }
        // If there are several, the caller has reported that.
        found.pop()
    }

    fn search(&mut self, spec: &ElasticsearchSpec, at: &FieldPath) -> Option<Search> {
        let urls = self.nodes(&form::SEARCH_URL, &spec.urls, &at.field("urls"));
        let index_prefix = match &spec.index_prefix {
            Some(prefix) => {
                let at = at.field("indexPrefix");
                self.form(&form::INDEX_PREFIX, prefix, at).map(Some)
            }
            None => Some(None),
        };
        let credentials = self.credentials(spec.credentials.as_ref(), at);
        let tls = self.tls(spec.tls.as_ref(), at);
        if spec.tls.is_some() && !spec.urls.iter().all(|url| url.starts_with("https://")) {
            self.add(at.field("tls"), problem::SEARCH_TLS);
        }
        Some(Search {
            urls: urls?,
            index_prefix: index_prefix?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn cassandra(&mut self, spec: &CassandraSpec, at: &FieldPath) -> Option<Cassandra> {
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
        Some(Cassandra {
            hosts: hosts?,
            keyspace: keyspace?,
            datacenter: datacenter?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    fn clickhouse(&mut self, spec: &ClickhouseSpec, at: &FieldPath) -> Option<ClickHouse> {
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
        Some(ClickHouse {
            addresses: addresses?,
            database: database?,
            credentials: credentials?,
            tls: tls?,
        })
    }

    /// Checks a database's nodes: at least one, and no duplicates.
    fn nodes(&mut self, form: &Form, nodes: &[String], at: &FieldPath) -> Option<Vec<String>> {
        let before = self.len();
        if nodes.is_empty() {
            self.add(at.clone(), "must have at least one entry");
        }
        self.at_most(nodes.len(), Storage::MAX_NODES, at);
        self.distinct(nodes, |index| at.index(index));
        for (index, node) in nodes.iter().enumerate() {
            self.check(at.index(index), form.check(node));
        }
        (self.len() == before).then(|| nodes.to_vec())
    }

    fn addresses(&mut self, nodes: &[String], at: &FieldPath) -> Option<Vec<Address>> {
        let indexed = nodes.iter().enumerate();
        indexed
            .map(|(index, node)| self.check(at.index(index), Address::new(node)))
            .collect()
    }

    #[allow(clippy::option_option)]
    fn credentials(
        &mut self,
        credentials: Option<&Credentials>,
        at: &FieldPath,
    ) -> Option<Option<ObjectName>> {
        let name = credentials.map(|credentials| &credentials.secret_name);
        self.object_name(name, at.field("credentials").field("secretName"))
    }

    #[allow(clippy::option_option)]
    fn tls(&mut self, spec: Option<&TlsSpec>, at: &FieldPath) -> Option<Option<Tls>> {
        let Some(spec) = spec else {
            return Some(None);
        };
        let at = at.field("tls");
        let ca = self.object_name(spec.ca_secret_name.as_ref(), at.field("caSecretName"));
        let certificate =
            self.object_name(spec.cert_secret_name.as_ref(), at.field("certSecretName"));
        let server_name = match &spec.server_name {
            Some(name) => self
                .form(&form::SERVER_NAME, name, at.field("serverName"))
                .map(Some),
            None => Some(None),
        };
        Some(Some(Tls {
            ca: ca?,
            certificate: certificate?,
            server_name: server_name?,
        }))
    }
}
