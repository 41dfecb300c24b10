//! Validation of stacks, and the messages for errors.

use std::time::Duration;

use rstest::rstest;
use spoor_api::{
    TracingStack,
    stack::{
        Backend, Collector, Jaeger, ManagedCollector, ManagedJaeger, ManagedSampler, Route,
        Sampler, SamplerEngine, Stack, Storage,
    },
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

fn sampler(stack: Stack) -> ManagedSampler {
    match stack.sampler {
        Sampler::Spoor(sampler) => *sampler,
        Sampler::OpenTelemetry => panic!("the Collector decides"),
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
    let sampler = sampler(valid("{}"));
    assert_eq!(sampler.replicas, 1);
    assert_eq!(sampler.decision_wait, Duration::from_secs(5));
    assert_eq!(sampler.max_trace_duration, Duration::from_secs(30));
    assert_eq!(sampler.memory, 256 << 20);
    assert_eq!(sampler.storage.size, 1 << 30);
    assert_eq!(sampler.storage.claim, None);
}

#[test]
fn sampler_has_the_written_settings() {
    let sampler = sampler(valid(
        "{sampler: {replicas: 3, decisionWait: 2s, maxTraceDuration: 1m, memory: 1.5Gi, storage: {size: 4Gi, claim: {storageClassName: fast}}}}",
    ));
    assert_eq!(sampler.replicas, 3);
    assert_eq!(sampler.decision_wait, Duration::from_secs(2));
    assert_eq!(sampler.max_trace_duration, Duration::from_secs(60));
    assert_eq!(sampler.memory, 3 << 29);
    assert_eq!(sampler.storage.size, 4 << 30);
    let claim = sampler.storage.claim.unwrap();
    assert_eq!(claim.storage_class_name.unwrap().as_str(), "fast");
}

#[rstest]
#[case("{}", SamplerEngine::Spoor)]
#[case("{sampler: {engine: Spoor}}", SamplerEngine::Spoor)]
#[case("{sampler: {engine: OpenTelemetry}}", SamplerEngine::OpenTelemetry)]
#[case(
    "{collector: {existing: {otlp: 'c:4317'}}}",
    SamplerEngine::OpenTelemetry
)]
#[case(
    "{collector: {existing: {otlp: 'c:4317', kept: 'c:4319'}}}",
    SamplerEngine::Spoor
)]
fn spec_determines_the_engine(#[case] spec: &str, #[case] engine: SamplerEngine) {
    assert_eq!(valid(spec).sampler.engine(), engine);
}

#[test]
fn kept_adds_a_sampler_to_existing_collector() {
    let stack = valid(
        "{collector: {existing: {otlp: 'c:4317', kept: 'c.tools.svc:4319'}}, sampler: {memory: 1Gi}}",
    );
    let Collector::Existing(existing) = &stack.collector else {
        panic!("{:?}", stack.collector)
    };
    assert_eq!(existing.otlp.to_string(), "c:4317");
    let kept = existing.kept.as_ref().unwrap();
    assert_eq!((kept.host(), kept.port()), ("c.tools.svc", 4319));
    assert_eq!(sampler(stack).memory, 1 << 30);
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
    "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 2m}}",
    "spec.collector.gatherWait: must be from 100ms to 1m, not 2m"
)]
#[case::gather_after_decision(
    "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 10s}}",
    "spec.collector.gatherWait: must be at most decisionWait"
)]
#[case::decision_before_default_gather(
    "{sampler: {engine: OpenTelemetry}, collector: {decisionWait: 1s}}",
    "spec.collector.gatherWait: must be at most decisionWait"
)]
#[case::moved_gather_wait(
    "{collector: {gatherWait: 3s}}",
    "spec.collector.gatherWait: requires `sampler.engine: OpenTelemetry`; with Spoor's sampler, set spec.sampler.maxTraceDuration"
)]
#[case::moved_decision_wait(
    "{sampler: {engine: Spoor}, collector: {decisionWait: 5s}}",
    "spec.collector.decisionWait: requires `sampler.engine: OpenTelemetry`; with Spoor's sampler, set spec.sampler.decisionWait"
)]
#[case::samplers(
    "{sampler: {replicas: 17}}",
    "spec.sampler.replicas: must be a whole number from 1 to 16, not 17"
)]
#[case::stock_sampler_with_settings(
    "{sampler: {engine: OpenTelemetry, memory: 1Gi}}",
    "spec.sampler.engine: must be the only field of spec.sampler if it is OpenTelemetry"
)]
#[case::sampler_of_an_existing_collector(
    "{collector: {existing: {otlp: 'c:4317'}}, sampler: {engine: Spoor}}",
    "spec.sampler: requires spec.collector.existing.kept"
)]
#[case::stock_sampler_of_an_existing_collector(
    "{collector: {existing: {otlp: 'c:4317', kept: 'c:4319'}}, sampler: {engine: OpenTelemetry}}",
    "spec.sampler.engine: must be Spoor with spec.collector.existing.kept"
)]
#[case::kept_returns_to_the_sampler(
    "{collector: {existing: {otlp: 'c:4317', kept: 'c:4317'}}}",
    "spec.collector.existing.kept: must not be the same as otlp"
)]
#[case::kept_address(
    "{collector: {existing: {otlp: 'c:4317', kept: 'http://c:4319'}}}",
    "spec.collector.existing.kept: must be a DNS name with a port"
)]
#[case::decision_after_the_longest_trace(
    "{sampler: {decisionWait: 31s}}",
    "spec.sampler.decisionWait: must be at most maxTraceDuration"
)]
#[case::long_trace(
    "{sampler: {maxTraceDuration: 2h}}",
    "spec.sampler.maxTraceDuration: must be from 100ms to 1h, not 2h"
)]
#[case::little_memory(
    "{sampler: {memory: 31Mi}}",
    "spec.sampler.memory: must be from 32Mi to 1Ti"
)]
#[case::small_volume(
    "{sampler: {storage: {size: 100}}}",
    "spec.sampler.storage.size: must be from 256Mi to 1Ti"
)]
#[case::storage_class(
    "{sampler: {storage: {claim: {storageClassName: A}}}}",
    "spec.sampler.storage.claim.storageClassName: must be an object's name"
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
    let errors = stack(
        "{jaeger: {image: ' ', basePath: x}, collector: {replicas: 99, exporters: {' ': {}}}}",
    )
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
