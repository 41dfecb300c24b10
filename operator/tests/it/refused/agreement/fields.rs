//! The fields that hold texts, and the mappings whose keys are texts.

/// A resource's `spec`, the path of a field in it, and the pattern of texts that it may accept.
pub struct Field {
    pub spec: &'static str,
    pub at: &'static str,
    pub likely: &'static str,
}

const fn field(spec: &'static str, at: &'static str, likely: &'static str) -> Field {
    Field { spec, at, likely }
}

const PERCENTAGE: &str = "[-+]?[0-9]{0,4}([.][0-9]{0,6})?%?";
const DURATION: &str = "([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,8}ms)?";
const RETENTION: &str = "([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?";
const TIME: &str = "(19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]([.][0-9]{0,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])?";
const NAME: &str = "[-a-zA-Z0-9._]{0,8}";
const HOST: &str = "[-a-z0-9.]{1,6}(:[0-9]{1,6})?";
const URL: &str = "https?://[-a-z0-9.]{1,6}(:[0-9]{1,6})?(/[-a-z/?@]{0,4})?";
const PATH: &str = "/?[-a-z._/]{0,8}";
const IMAGE: &str = "[a-z.:]{1,8}(/[-a-z:_@]{1,6})?";
const QUANTITY: &str = "-?[0-9]{0,4}([.][0-9]{0,4})?(m|k|K|Ki|M|Mi|Gi|E|Ei|x)?";
const PRINTABLE: &str = ".{0,20}";

pub const POLICIES: &[Field] = &[
    field("{head: {probability: X}}", "/head/probability", PERCENTAGE),
    field("{tail: {otherwise: X}}", "/tail/otherwise", PERCENTAGE),
    field(
        "{head: {probability: 1%}, expiresAt: X}",
        "/expiresAt",
        TIME,
    ),
    field(
        "{head: {probability: 1%}, targets: [{service: X}]}",
        "/targets/0/service",
        PRINTABLE,
    ),
    field(
        "{head: {probability: 1%}, targets: [{service: a, operations: [X]}]}",
        "/targets/0/operations/0",
        PRINTABLE,
    ),
    field(
        "{tail: {otherwise: 1%, keep: [{name: X, error: {}}]}}",
        "/tail/keep/0/name",
        NAME,
    ),
    field(
        "{tail: {otherwise: 1%, keep: [{name: a, slowerThan: X}]}}",
        "/tail/keep/0/slowerThan",
        DURATION,
    ),
    field(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {key: X, values: [a]}}]}}",
        "/tail/keep/0/attribute/key",
        PRINTABLE,
    ),
    field(
        "{tail: {otherwise: 1%, keep: [{name: a, attribute: {key: a, values: [X]}}]}}",
        "/tail/keep/0/attribute/values/0",
        PRINTABLE,
    ),
];

pub const STACKS: &[Field] = &[
    field("{jaeger: {image: X}}", "/jaeger/image", IMAGE),
    field("{jaeger: {basePath: X}}", "/jaeger/basePath", PATH),
    field(
        "{jaeger: {prometheus: {url: X}}}",
        "/jaeger/prometheus/url",
        URL,
    ),
    field(
        "{jaeger: {existing: {otlp: X}}}",
        "/jaeger/existing/otlp",
        HOST,
    ),
    field(
        "{jaeger: {existing: {otlp: 'a:1', query: X}}}",
        "/jaeger/existing/query",
        HOST,
    ),
    field(
        "{jaeger: {storage: {badger: {size: X}}}}",
        "/jaeger/storage/badger/size",
        QUANTITY,
    ),
    field(
        "{jaeger: {storage: {badger: {retention: X}}}}",
        "/jaeger/storage/badger/retention",
        RETENTION,
    ),
    field(
        "{jaeger: {storage: {badger: {storageClassName: X}}}}",
        "/jaeger/storage/badger/storageClassName",
        NAME,
    ),
    field(
        "{jaeger: {storage: {opensearch: {urls: [X]}}}}",
        "/jaeger/storage/opensearch/urls/0",
        URL,
    ),
    field(
        "{jaeger: {storage: {opensearch: {urls: [X], tls: {}}}}}",
        "/jaeger/storage/opensearch/urls/0",
        URL,
    ),
    field(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://a'], indexPrefix: X}}}}",
        "/jaeger/storage/elasticsearch/indexPrefix",
        NAME,
    ),
    field(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://a'], credentials: {secretName: X}}}}}",
        "/jaeger/storage/elasticsearch/credentials/secretName",
        NAME,
    ),
    field(
        "{jaeger: {storage: {elasticsearch: {urls: ['https://a'], tls: {serverName: X}}}}}",
        "/jaeger/storage/elasticsearch/tls/serverName",
        HOST,
    ),
    field(
        "{jaeger: {storage: {cassandra: {hosts: [X]}}}}",
        "/jaeger/storage/cassandra/hosts/0",
        HOST,
    ),
    field(
        "{jaeger: {storage: {cassandra: {hosts: [a], keyspace: X}}}}",
        "/jaeger/storage/cassandra/keyspace",
        NAME,
    ),
    field(
        "{jaeger: {storage: {cassandra: {hosts: [a], datacenter: X}}}}",
        "/jaeger/storage/cassandra/datacenter",
        NAME,
    ),
    field(
        "{jaeger: {storage: {cassandra: {hosts: [a], tls: {certSecretName: X}}}}}",
        "/jaeger/storage/cassandra/tls/certSecretName",
        NAME,
    ),
    field(
        "{jaeger: {storage: {clickhouse: {addresses: [X]}}}}",
        "/jaeger/storage/clickhouse/addresses/0",
        HOST,
    ),
    field(
        "{jaeger: {storage: {clickhouse: {addresses: ['a:1'], database: X}}}}",
        "/jaeger/storage/clickhouse/database",
        NAME,
    ),
    field(
        "{jaeger: {resources: {limits: {memory: X}}}}",
        "/jaeger/resources/limits/memory",
        QUANTITY,
    ),
    field(
        "{jaeger: {resources: {requests: {memory: 1Mi}, limits: {memory: X}}}}",
        "/jaeger/resources/limits/memory",
        QUANTITY,
    ),
    field(
        "{jaeger: {scheduling: {nodeSelector: {a: X}}}}",
        "/jaeger/scheduling/nodeSelector/a",
        NAME,
    ),
    field(
        "{jaeger: {scheduling: {priorityClassName: X}}}",
        "/jaeger/scheduling/priorityClassName",
        NAME,
    ),
    field(
        "{jaeger: {scheduling: {tolerations: [{key: X}]}}}",
        "/jaeger/scheduling/tolerations/0/key",
        NAME,
    ),
    field(
        "{jaeger: {scheduling: {tolerations: [{key: a, value: X}]}}}",
        "/jaeger/scheduling/tolerations/0/value",
        NAME,
    ),
    field(
        "{jaeger: {pod: {annotations: {a: X}}}}",
        "/jaeger/pod/annotations/a",
        PRINTABLE,
    ),
    field(
        "{jaeger: {pod: {labels: {a: X}}}}",
        "/jaeger/pod/labels/a",
        NAME,
    ),
    field(
        "{collector: {pod: {env: [{name: X}]}}}",
        "/collector/pod/env/0/name",
        "[-a-zA-Z0-9_.]{0,8}",
    ),
    field(
        "{collector: {pod: {env: [{name: a, value: X}]}}}",
        "/collector/pod/env/0/value",
        PRINTABLE,
    ),
    field(
        "{collector: {pod: {imagePullSecrets: [X]}}}",
        "/collector/pod/imagePullSecrets/0",
        NAME,
    ),
    field(
        "{collector: {existing: {otlp: X}}}",
        "/collector/existing/otlp",
        HOST,
    ),
    field(
        "{collector: {existing: {otlp: 'c:4317', kept: X}}}",
        "/collector/existing/kept",
        HOST,
    ),
    field(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: X}}",
        "/collector/gatherWait",
        DURATION,
    ),
    field(
        "{sampler: {engine: OpenTelemetry}, collector: {decisionWait: X}}",
        "/collector/decisionWait",
        DURATION,
    ),
    field(
        "{collector: {envFromSecrets: [X]}}",
        "/collector/envFromSecrets/0",
        NAME,
    ),
    field(
        "{sampler: {decisionWait: X}}",
        "/sampler/decisionWait",
        DURATION,
    ),
    field(
        "{sampler: {maxTraceDuration: X}}",
        "/sampler/maxTraceDuration",
        DURATION,
    ),
    field("{sampler: {memory: X}}", "/sampler/memory", QUANTITY),
    field(
        "{sampler: {storage: {size: X}}}",
        "/sampler/storage/size",
        QUANTITY,
    ),
    field(
        "{sampler: {storage: {claim: {storageClassName: X}}}}",
        "/sampler/storage/claim/storageClassName",
        NAME,
    ),
];

/// Mappings whose keys are texts.
pub const KEYS: &[(&str, &str, &str)] = &[
    (
        "/collector/exporters",
        "{}",
        "[a-zA-Z0-9_]{0,6}(/[-a-z.]{0,6})?",
    ),
    (
        "/jaeger/resources/limits",
        "1",
        "(cpu|memory|[a-z.]{1,5}/[a-z.]{0,4})",
    ),
    (
        "/collector/scheduling/nodeSelector",
        "a",
        "([a-z.]{0,5}/)?[-A-Za-z._]{0,5}",
    ),
    (
        "/jaeger/pod/annotations",
        "a",
        "([a-z.]{0,5}/)?[-A-Za-z._]{0,5}",
    ),
    (
        "/collector/pod/labels",
        "a",
        "([a-z.]{0,5}/)?[-A-Za-z._]{0,5}",
    ),
];
