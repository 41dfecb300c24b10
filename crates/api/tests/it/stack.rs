//! Validation of stacks, and the messages for errors.

use std::time::Duration;

use rstest::rstest;
use spoor_api::{
    TracingStack,
    stack::{Backend, Collector, Jaeger, ManagedCollector, ManagedJaeger, Route, Stack, Storage},
};

/// A stack with this `spec`.
fn stack(spec: &str) -> TracingStack {
    serde_yaml::from_str(&format!(
        "apiVersion: spoor.dev/v1alpha1\nkind: TracingStack\nmetadata: {{name: tracing, namespace: shop}}\nspec: {spec}"
    ))
    .unwrap()
}

fn valid(spec: &str) -> Stack {
    stack(spec).validate().unwrap()
}

fn managed(stack: Stack) -> (ManagedJaeger, ManagedCollector) {
    match (stack.jaeger, stack.collector) {
        (Jaeger::Managed(jaeger), Collector::Managed(collector)) => (*jaeger, *collector),
        other => panic!("{other:?}"),
    }
}

#[test]
fn empty_spec_has_all_defaults() {
    let stack = valid("{}");
    assert_eq!(stack.name.as_str(), "tracing");
    assert_eq!(stack.namespace.as_str(), "shop");
    assert_eq!(stack.route, Route::Collector);
    let (jaeger, collector) = managed(stack);
    assert_eq!(jaeger.image, ManagedJaeger::DEFAULT_IMAGE);
    assert_eq!(jaeger.storage, Storage::Memory { max_traces: 50_000 });
    assert_eq!(jaeger.storage.replicas(), 1);
    assert_eq!(jaeger.base_path.as_str(), "/");
    assert_eq!(collector.replicas, 1);
    assert_eq!(collector.gather_wait, Duration::from_millis(2_170));
    assert_eq!(collector.decision_wait, Duration::from_secs(5));
}

#[test]
fn external_storage_allows_replicas() {
    let spec = "{jaeger: {replicas: 3, storage: {cassandra: {hosts: [a, 'b.c:9043']}}}}";
    let (jaeger, _) = managed(valid(spec));
    let Storage::External {
        replicas: 3,
        backend: Backend::Cassandra(cassandra),
    } = jaeger.storage
    else {
        panic!("{:?}", jaeger.storage)
    };
    let hosts: Vec<(&str, u16)> = cassandra
        .hosts
        .iter()
        .map(|host| (host.host(), host.port()))
        .collect();
    assert_eq!(hosts, [("a", 9042), ("b.c", 9043)]);
}

#[test]
fn base_path_is_kept() {
    for path in ["/", "/jaeger"] {
        let (jaeger, _) = managed(valid(&format!("{{jaeger: {{basePath: {path}}}}}")));
        assert_eq!(jaeger.base_path.as_str(), path);
    }
}

#[test]
fn exporters_keep_their_configuration() {
    let spec = "{collector: {exporters: {otlp_http/vendor: {endpoint: 'https://v', headers: {a: '${env:T}'}}}}}";
    let (_, collector) = managed(valid(spec));
    let (name, settings) = collector.exporters.first_key_value().unwrap();
    assert_eq!(name.as_str(), "otlp_http/vendor");
    assert_eq!(settings["headers"]["a"], "${env:T}");
}

#[rstest]
#[case("7d", 7 * 24)]
#[case("36h", 36)]
#[case("365d", 365 * 24)]
fn retention_is_days_or_a_duration(#[case] text: &str, #[case] hours: u64) {
    let spec = format!("{{jaeger: {{storage: {{badger: {{retention: {text}}}}}}}}}");
    let (jaeger, _) = managed(valid(&spec));
    let Storage::Badger { retention, .. } = jaeger.storage else {
        panic!("{:?}", jaeger.storage)
    };
    assert_eq!(retention, Duration::from_secs(hours * 3600));
}

#[rstest]
#[case::existing(
    "{jaeger: {existing: {otlp: 'j:4317'}}, collector: {existing: {otlp: 'c:4317'}}, route: Direct}"
)]
#[case::empty_maps_beside_existing(
    "{collector: {existing: {otlp: 'c:4317'}, exporters: {}, envFromSecrets: []}}"
)]
#[case::numbers_as_quantities("{jaeger: {resources: {requests: {cpu: 1}, limits: {cpu: 1000m}}}}")]
fn accepts_valid_spec(#[case] spec: &str) {
    valid(spec);
}

#[rstest]
#[case::two_storages(
    "{jaeger: {storage: {memory: {}, badger: {}}}}",
    "spec.jaeger.storage: must have only one of"
)]
#[case::no_storage("{jaeger: {storage: {}}}", "spec.jaeger.storage: must have one of")]
#[case::replicas(
    "{jaeger: {replicas: 2}}",
    "spec.jaeger.replicas: must be 1 with storage in Jaeger"
)]
#[case::badger_replicas(
    "{jaeger: {replicas: 2, storage: {badger: {}}}}",
    "spec.jaeger.replicas: must be 1 with"
)]
#[case::no_replicas(
    "{jaeger: {replicas: 0}}",
    "spec.jaeger.replicas: must be a whole number from 1 to 16, not 0"
)]
#[case::existing_and_more(
    "{jaeger: {existing: {otlp: 'j:1'}, basePath: /j}}",
    "spec.jaeger.existing: must be the only field"
)]
#[case::existing_address(
    "{jaeger: {existing: {otlp: '10.0.0.1:4317'}}}",
    "spec.jaeger.existing.otlp: must be a DNS name with a port"
)]
#[case::base_path(
    "{jaeger: {basePath: jaeger/}}",
    "spec.jaeger.basePath: must be a path such as \"/jaeger\""
)]
#[case::user_in_url(
    "{jaeger: {storage: {opensearch: {urls: ['https://me:secret@os:9200']}}}}",
    "spec.jaeger.storage.opensearch.urls[0]: must be a URL"
)]
#[case::tls_of_http(
    "{jaeger: {storage: {opensearch: {urls: ['http://os:9200'], tls: {}}}}}",
    "spec.jaeger.storage.opensearch.tls: requires URLs that begin with \"https://\""
)]
#[case::clickhouse_tls(
    "{jaeger: {storage: {clickhouse: {addresses: ['c:9000'], tls: {}}}}}",
    "spec.jaeger.storage.clickhouse.tls: requires a Jaeger newer than 2.13"
)]
#[case::no_hosts(
    "{jaeger: {storage: {cassandra: {hosts: []}}}}",
    "spec.jaeger.storage.cassandra.hosts: must have at least one entry"
)]
#[case::size(
    "{jaeger: {storage: {badger: {size: 0}}}}",
    "spec.jaeger.storage.badger.size: must be greater than 0"
)]
#[case::limits(
    "{collector: {resources: {requests: {memory: 1Gi}, limits: {memory: 1G}}}}",
    "spec.collector.resources.limits.memory: must be at least the request"
)]
#[case::largest_request(
    "{collector: {resources: {requests: {memory: 999999999999Ei}, limits: {memory: 999999999998Ei}}}}",
    "spec.collector.resources.limits.memory: must be at least the request"
)]
#[case::wait(
    "{collector: {gatherWait: 2m}}",
    "spec.collector.gatherWait: must be from 100ms to 1m, not 2m"
)]
#[case::gather_after_decision(
    "{collector: {gatherWait: 10s}}",
    "spec.collector.gatherWait: must be at most decisionWait"
)]
#[case::decision_before_default_gather(
    "{collector: {decisionWait: 1s}}",
    "spec.collector.gatherWait: must be at most decisionWait"
)]
#[case::retention(
    "{jaeger: {storage: {badger: {retention: 3 days}}}}",
    "spec.jaeger.storage.badger.retention: must be whole days such as \"7d\""
)]
#[case::long_retention(
    "{jaeger: {storage: {badger: {retention: 366d}}}}",
    "spec.jaeger.storage.badger.retention: must be from 1h to 365d, not 366d"
)]
#[case::prometheus(
    "{jaeger: {prometheus: {url: 'prometheus:9090'}}}",
    "spec.jaeger.prometheus.url: must be a URL such as \"http://prometheus:9090\""
)]
#[case::own_exporter(
    "{collector: {exporters: {otlp_grpc/spoor-jaeger: {}}}}",
    "spec.collector.exporters.otlp_grpc/spoor-jaeger: must not begin with \"spoor\""
)]
#[case::secret_twice(
    "{collector: {envFromSecrets: [a, a]}}",
    "spec.collector.envFromSecrets[1]: duplicate \"a\""
)]
#[case::toleration(
    "{jaeger: {scheduling: {tolerations: [{effect: NoSchedule}]}}}",
    "spec.jaeger.scheduling.tolerations[0].key: is missing"
)]
fn rejects_invalid_spec(#[case] spec: &str, #[case] expected: &str) {
    let errors = stack(spec).validate().unwrap_err();
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(messages[0].starts_with(expected), "{messages:#?}");
    assert_eq!(messages.len(), 1, "{messages:#?}");
}

#[test]
fn all_errors_are_reported_at_once() {
    let errors =
        stack("{jaeger: {image: ' ', basePath: x}, collector: {replicas: 99, gatherWait: x}}")
            .validate()
            .unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

#[rstest]
#[case("Tracing")]
#[case("1tracing")]
#[case("tracing.shop")]
#[case("a-name-that-is-longer-than-the-limit-of-40")]
fn rejects_invalid_names(#[case] name: &str) {
    let mut stack = stack("{}");
    stack.metadata.name = name.to_owned();
    let errors = stack.validate().unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .starts_with("metadata.name: must be at most 40"),
        "{errors:?}"
    );
}
