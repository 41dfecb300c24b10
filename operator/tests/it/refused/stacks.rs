//! `TracingStack`.

mod pods;
mod storage;

use serde_json::json;

use super::{Case, case, validators::Validators};

const REFUSED: &[Case] = &[
    case(
        "{route: Tunnel}",
        &[
            "spec.route: ",
            "supported values: \"Collector\", \"Direct\"",
        ],
    ),
    case("{rout: Direct}", &["unknown field \"spec.rout\""]),
    case(
        "{jaeger: {prometheus: {url: 'prometheus:9090'}}}",
        &[
            "spec.jaeger.prometheus.url: ",
            "must be a URL such as \"http://prometheus:9090\"",
        ],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 6s}}",
        &[
            "spec.collector.gatherWait: ",
            "must be at most decisionWait (5s by default)",
        ],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 3s, decisionWait: 2s}}",
        &["spec.collector.gatherWait: ", "raise \"decisionWait\""],
    ),
    // Jaeger.
    case(
        "{jaeger: {replicas: 2}}",
        &[
            "spec.jaeger.replicas: ",
            "must be 1 with storage in Jaeger's own pod",
        ],
    ),
    case(
        "{jaeger: {replicas: 2, storage: {badger: {}}}}",
        &["spec.jaeger.replicas: ", "use storage.opensearch"],
    ),
    case(
        "{jaeger: {replicas: 0}}",
        &["spec.jaeger.replicas", "greater than or equal to 1"],
    ),
    case(
        "{jaeger: {replicas: 17, storage: {cassandra: {hosts: [a]}}}}",
        &["spec.jaeger.replicas", "less than or equal to 16"],
    ),
    case(
        "{jaeger: {basePath: jaeger}}",
        &[
            "spec.jaeger.basePath: ",
            "must be a path such as \"/jaeger\"",
        ],
    ),
    case(
        "{jaeger: {basePath: /jaeger/}}",
        &["spec.jaeger.basePath: ", "does not end with it"],
    ),
    case(
        "{jaeger: {basePath: /../etc}}",
        &["spec.jaeger.basePath: ", "must be a path such as"],
    ),
    case(
        "{jaeger: {image: 'jaeger latest'}}",
        &["spec.jaeger.image: ", "must be an image such as"],
    ),
    case(
        "{jaeger: {imagePullPolicy: Sometimes}}",
        &[
            "spec.jaeger.imagePullPolicy: ",
            "supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    ),
    case(
        "{jaeger: {prometheus: {url: 'prometheus:9090'}}}",
        &["spec.jaeger.prometheus.url: ", "must be a URL"],
    ),
    case(
        "{jaeger: {existing: {}}}",
        &["spec.jaeger.existing.otlp: ", "Required value"],
    ),
    case(
        "{jaeger: {existing: {otlp: 'j'}}}",
        &[
            "spec.jaeger.existing.otlp: ",
            "must be a DNS name with a port, such as \"jaeger.observability.svc:4317\"",
        ],
    ),
    case(
        "{jaeger: {existing: {otlp: '10.0.0.1:4317'}}}",
        &[
            "spec.jaeger.existing.otlp: ",
            "must be a DNS name with a port",
        ],
    ),
    case(
        "{jaeger: {existing: {otlp: 'http://j:4317'}}}",
        &[
            "spec.jaeger.existing.otlp: ",
            "must be a DNS name with a port",
        ],
    ),
    case(
        "{jaeger: {existing: {otlp: 'j:4317'}, storage: {memory: {}}}}",
        &[
            "spec.jaeger.existing: ",
            "must be the only field of spec.jaeger",
            "delete \"existing\" or the other fields",
        ],
    ),
    // The Collector.
    case(
        "{collector: {existing: {otlp: 'c:4317'}, exporters: {debug: {}}}}",
        &[
            "spec.collector.existing: ",
            "must be the only field of spec.collector",
            "delete \"existing\" or the other fields",
        ],
    ),
    case(
        "{collector: {existing: {otlp: 'c:4317'}, replicas: 1}}",
        &["spec.collector.existing: ", "must be the only field"],
    ),
    case(
        "{collector: {existing: {otlp: 'c:4317', kept: 'c'}}}",
        &[
            "spec.collector.existing.kept: ",
            "must be a DNS name with a port",
        ],
    ),
    case(
        "{collector: {existing: {otlp: 'c:4317', kept: 'c:4317'}}}",
        &[
            "spec.collector.existing.kept: ",
            "must not be the same as otlp",
            "give the Collector a second receiver",
        ],
    ),
    case(
        "{collector: {replicas: -1}}",
        &["spec.collector.replicas", "greater than or equal to 1"],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 2}}",
        &["spec.collector.gatherWait: ", "must be of type string"],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: '2'}}",
        &["spec.collector.gatherWait: ", "must be a duration such as"],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 61s}}",
        &["spec.collector.gatherWait: ", "must be from 100ms to 1m"],
    ),
    case(
        "{sampler: {engine: OpenTelemetry}, collector: {decisionWait: 10ms}}",
        &["spec.collector.decisionWait: ", "must be from 100ms to 5m"],
    ),
    case(
        "{collector: {exporters: {'otlp http': {}}}}",
        &[
            "spec.collector.exporters: ",
            "must be an exporter name",
            "not \"otlp http\"",
        ],
    ),
    case(
        "{collector: {exporters: {otlp_grpc/spoor-jaeger: {}}}}",
        &[
            "spec.collector.exporters: ",
            "must not begin with \"spoor\"",
            "choose another name",
        ],
    ),
    case(
        "{collector: {exporters: {debug: basic}}}",
        &["spec.collector.exporters.debug: ", "must be of type object"],
    ),
    case(
        "{collector: {exporters: [debug]}}",
        &["spec.collector.exporters: ", "must be of type object"],
    ),
    case(
        "{collector: {envFromSecrets: [a, a]}}",
        &[
            "spec.collector.envFromSecrets[1]: ",
            "Duplicate value: \"a\"",
        ],
    ),
    case(
        "{collector: {envFromSecrets: [A]}}",
        &[
            "spec.collector.envFromSecrets[0]: ",
            "must be an object's name",
        ],
    ),
    // The sampler.
    case(
        "{collector: {gatherWait: 3s}}",
        &[
            "spec.collector.gatherWait: ",
            "requires `sampler.engine: OpenTelemetry`",
            "set spec.sampler.maxTraceDuration instead",
        ],
    ),
    case(
        "{sampler: {engine: Spoor}, collector: {decisionWait: 3s}}",
        &[
            "spec.collector.decisionWait: ",
            "set spec.sampler.decisionWait instead",
        ],
    ),
    case(
        "{sampler: {engine: Refinery}}",
        &[
            "spec.sampler.engine: ",
            "supported values: \"Spoor\", \"OpenTelemetry\"",
        ],
    ),
    case(
        "{sampler: {engine: OpenTelemetry, resources: {}}}",
        &[
            "spec.sampler.engine: ",
            "must be the only field of spec.sampler if it is OpenTelemetry",
        ],
    ),
    case(
        "{collector: {existing: {otlp: 'c:4317'}}, sampler: {memory: 1Gi}}",
        &[
            "spec.sampler: ",
            "requires spec.collector.existing.kept",
            "set that field or delete this one",
        ],
    ),
    case(
        "{collector: {existing: {otlp: 'c:4317', kept: 'c:4319'}}, sampler: {engine: OpenTelemetry}}",
        &[
            "spec.sampler.engine: ",
            "must be Spoor with spec.collector.existing.kept",
        ],
    ),
    case(
        "{sampler: {replicas: 17}}",
        &["spec.sampler.replicas", "less than or equal to 16"],
    ),
    case(
        "{sampler: {decisionWait: 31s}}",
        &[
            "spec.sampler.decisionWait: ",
            "must be at most maxTraceDuration (30s by default)",
        ],
    ),
    case(
        "{sampler: {maxTraceDuration: 61m}}",
        &[
            "spec.sampler.maxTraceDuration: ",
            "must be from 100ms to 1h",
        ],
    ),
    case(
        "{sampler: {memory: 31Mi}}",
        &["spec.sampler.memory: ", "must be from 32Mi to 1Ti"],
    ),
    case(
        "{sampler: {storage: {size: 2Ti}}}",
        &["spec.sampler.storage.size: ", "must be from 256Mi to 1Ti"],
    ),
];

const ACCEPTED: &[&str] = &[
    "{}",
    "{route: Direct}",
    "{jaeger: {}, collector: {}, sampler: {}}",
    "{sampler: {engine: OpenTelemetry}}",
    "{sampler: {engine: Spoor, replicas: 16, decisionWait: 10m, maxTraceDuration: 1h, memory: 33554432, storage: {size: 1Ti, claim: {}}}}",
    "{sampler: {resources: {limits: {memory: 1Gi}}, scheduling: {priorityClassName: high}, pod: {labels: {a: b}}}}",
    "{jaeger: {basePath: /}}",
    "{jaeger: {basePath: /a/b-c_d.e~f}}",
    "{jaeger: {image: localhost:5000/a/b:1.2-x}}",
    "{jaeger: {image: 'jaeger@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}}",
    "{jaeger: {replicas: 1, storage: {badger: {size: 1, retention: 8760h}}}}",
    "{jaeger: {storage: {memory: {maxTraces: 10000000}}}}",
    "{jaeger: {replicas: 16, storage: {cassandra: {hosts: [a, 'b:9042', 10.0.0.1, '10.0.0.2:65535']}}}}",
    "{jaeger: {storage: {opensearch: {urls: ['https://a', 'https://b:9200/path/'], tls: {caSecretName: a.b, certSecretName: c, serverName: d.e}}}}}",
    "{jaeger: {storage: {elasticsearch: {urls: ['http://a']}}}}",
    "{jaeger: {image: jaeger:3, storage: {clickhouse: {addresses: ['c:9000'], tls: {}}}}}",
    "{jaeger: {existing: {otlp: 'jaeger:4317', query: 'jaeger.a.svc.cluster.local:16686'}}}",
    "{jaeger: {existing: {otlp: '1a.b:4317'}}}",
    "{collector: {existing: {otlp: 'c:4317'}, exporters: {}, envFromSecrets: []}}",
    "{collector: {existing: {otlp: 'c:4317', kept: 'c:4319'}}}",
    "{collector: {existing: {otlp: 'c:4317', kept: 'd.a.svc:4317'}}, sampler: {engine: Spoor, memory: 1Gi, storage: {claim: {}}}}",
    "{sampler: {engine: OpenTelemetry}, collector: {replicas: 16, gatherWait: 100ms, decisionWait: 5m}}",
    "{sampler: {engine: OpenTelemetry}, collector: {gatherWait: 1m, decisionWait: 4m59s999ms}}",
    "{collector: {exporters: {debug: {}, otlp_http/a.b-c_d: {endpoint: 'https://x', headers: {a: [1, {b: null}]}}, otlp/sporadic: {}}}}",
    "{jaeger: {resources: {requests: {cpu: 1, memory: 1Gi, example.com/gpu: 1}, limits: {cpu: 1000m, memory: 1024Mi, hugepages-2Mi: 4Mi}}}}",
    "{jaeger: {scheduling: {nodeSelector: {kubernetes.io/arch: amd64, a: ''}, tolerations: [{operator: Exists}, {key: a, value: b, effect: NoExecute, tolerationSeconds: 0}], affinity: {podAntiAffinity: {}}, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}], priorityClassName: high}}}",
    "{jaeger: {pod: {annotations: {a/b: \"x\\ny\", c: ''}, labels: {a: b}, env: [{name: GOGC, value: '50'}, {name: EMPTY}], imagePullSecrets: [registry]}}}",
];

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_stacks_name_field_and_fix() {
    let Some(validators) = Validators::of("TracingStack", "refused stacks").await else {
        return;
    };
    for cases in [REFUSED, storage::REFUSED, pods::REFUSED] {
        validators.assert_refused(cases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extreme_stacks_are_accepted() {
    let Some(validators) = Validators::of("TracingStack", "accepted stacks").await else {
        return;
    };
    validators.assert_accepted(ACCEPTED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_stack_names_are_refused() {
    let Some(validators) = Validators::of("TracingStack", "names of stacks").await else {
        return;
    };
    let longest = "a".repeat(40);
    validators
        .server(&validators.resource(&longest, json!({})))
        .await
        .unwrap();
    for name in ["1a", "a.b", &format!("{longest}a")] {
        let verdict = validators
            .server(&validators.resource(name, json!({})))
            .await;
        let message = verdict.expect_err(name);
        for part in ["metadata.name: ", "must be at most 40 lower-case letters"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
