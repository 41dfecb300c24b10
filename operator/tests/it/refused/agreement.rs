//! Whether the API server and validation judge alike, field by field.

use futures_util::{StreamExt, stream};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::judge::Judge;

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// Texts made up for each field.
const MADE_UP: usize = 40;

/// A resource's `spec`, the way to a field in it, and texts that are likely for it.
struct Field {
    spec: &'static str,
    at: &'static str,
    likely: &'static str,
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

const POLICIES: &[Field] = &[
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

const STACKS: &[Field] = &[
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
        "{collector: {gatherWait: X}}",
        "/collector/gatherWait",
        DURATION,
    ),
    field(
        "{collector: {decisionWait: X}}",
        "/collector/decisionWait",
        DURATION,
    ),
    field(
        "{collector: {envFromSecrets: [X]}}",
        "/collector/envFromSecrets/0",
        NAME,
    ),
];

/// Mappings whose keys are texts.
const KEYS: &[(&str, &str, &str)] = &[
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

/// Texts that are tried everywhere.
fn everywhere() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "a",
        "A",
        "0",
        "-",
        ".",
        "/",
        ":",
        "a b",
        "a-",
        "-a",
        "a.b",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a:1",
        "a:0",
        "a:65535",
        "a:65536",
        "a:01",
        "a\n",
        "\na",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "é",
        "日本",
        "😀",
        "\u{a0}",
        "null",
        "~",
        "1%",
        "+1%",
        "1s",
        "2027-01-01T12:00:00Z",
        "2027-01-01t12:00:00z",
        "2027-02-29T12:00:00Z",
        "2028-02-29T12:00:00Z",
        "2027-01-01T23:59:60Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2027-01-01T12:00:00+23:59",
        "2027-01-01T12:00:00-00:00",
        "https://a",
        "https://a/b?c",
        "HTTPS://a",
        "1Gi",
        "1e3",
        "0.1",
        "00",
        "١%",
        "१s",
        "$(x)",
        "'",
        "\"",
        "\\",
        "spoor",
        "a/spoor",
        "a/spoor-b",
        "a/sp",
    ]
    .map(str::to_owned)
    .into();
    for length in [
        16, 17, 24, 25, 32, 33, 48, 49, 63, 64, 128, 129, 253, 254, 256, 257, 260, 261, 317, 318,
        512, 513,
    ] {
        texts.push("a".repeat(length));
        texts.push("é".repeat(length.div_ceil(2)));
    }
    texts
}

fn made_up(pattern: &str) -> Vec<String> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let texts = proptest::string::string_regex(pattern).unwrap();
    (0..MADE_UP)
        .map(|_| texts.new_tree(&mut runner).unwrap().current())
        .collect()
}

async fn agree(judge: &Judge, resources: Vec<Value>) {
    let judged = stream::iter(&resources).map(|resource| async move {
        let server = judge.server(resource).await;
        (resource, server, judge.validation(resource))
    });
    let judged: Vec<_> = judged.buffer_unordered(AT_ONCE).collect().await;
    let accepted = judged
        .iter()
        .filter(|(_, server, _)| server.is_ok())
        .count();
    println!("{} resources, {accepted} accepted", judged.len());
    assert!(
        accepted * 20 > judged.len(),
        "hardly any was accepted: {accepted}"
    );
    let wrong: Vec<String> = judged
        .iter()
        .filter(|(_, server, validation)| server.is_ok() != validation.is_ok())
        .map(|(resource, server, validation)| {
            format!(
                "{}\n  API server: {server:?}\n  validation: {validation:?}",
                resource["spec"]
            )
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn with_texts(judge: &Judge, fields: &[Field]) -> Vec<Value> {
    let mut resources = vec![];
    for field in fields {
        for text in everywhere().into_iter().chain(made_up(field.likely)) {
            let mut spec: Value = serde_yaml::from_str(field.spec).unwrap();
            *spec.pointer_mut(field.at).unwrap() = text.into();
            resources.push(judge.resource("a", spec));
        }
    }
    resources
}

#[tokio::test(flavor = "multi_thread")]
async fn on_texts_of_policies() {
    let Some(judge) = Judge::of("SamplingPolicy", "agreement on policies").await else {
        return;
    };
    agree(&judge, with_texts(&judge, POLICIES)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_texts_of_stacks() {
    let Some(judge) = Judge::of("TracingStack", "agreement on stacks").await else {
        return;
    };
    let mut resources = with_texts(&judge, STACKS);
    for (at, value, likely) in KEYS {
        let value: Value = serde_yaml::from_str(value).unwrap();
        let steps = at.split('/').skip(1).collect::<Vec<_>>();
        for key in everywhere().into_iter().chain(made_up(likely)) {
            let value = match value.as_i64() {
                Some(number) => json!({ key: number }),
                None => json!({ key: value }),
            };
            let spec = steps
                .iter()
                .rev()
                .fold(value, |inner, step| json!({ *step: inner }));
            resources.push(judge.resource("a", spec));
        }
    }
    agree(&judge, resources).await;
}

/// Which members of `spec` stand together, in all combinations.
#[tokio::test(flavor = "multi_thread")]
async fn on_members_of_stacks() {
    let Some(judge) = Judge::of("TracingStack", "agreement on members").await else {
        return;
    };
    let storage = [
        json!(null),
        json!({}),
        json!({"memory": {}}),
        json!({"badger": {}}),
        json!({"cassandra": {"hosts": ["a"]}}),
        json!({"memory": {}, "cassandra": {"hosts": ["a"]}}),
        json!({"clickhouse": {"addresses": ["a:1"], "tls": {}}}),
    ];
    let existing = [json!(null), json!({"otlp": "a:1"})];
    let replicas = [json!(null), json!(1), json!(2)];
    let images = [json!(null), json!("a")];
    let mut resources = vec![];
    for storage in &storage {
        for existing in &existing {
            for replicas in &replicas {
                for image in &images {
                    let members = [
                        ("storage", storage),
                        ("existing", existing),
                        ("replicas", replicas),
                        ("image", image),
                    ];
                    let present = members.into_iter().filter(|(_, value)| !value.is_null());
                    let jaeger: serde_json::Map<_, _> = present
                        .map(|(name, value)| (name.to_owned(), value.clone()))
                        .collect();
                    resources.push(judge.resource("a", json!({"jaeger": jaeger})));
                }
            }
        }
    }
    agree(&judge, resources).await;
}
