#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod sampler;

use std::{fs, path::Path};

use rstest::rstest;
use serde_json::{Value, json};
use spoor_api::{
    Metadata, TracingStack,
    stack::{Route, SamplerEngine},
};

use super::{otlp_service::OtlpTarget, *};
use crate::stacks::{
    objects::{labels, pod},
    validate::validate,
};

/// A stack whose Collector decides itself, unless the spec has another sampler.
fn stack(mut spec: Value) -> Stack {
    if spec["sampler"].is_null() && spec["collector"]["existing"].is_null() {
        spec["sampler"] = json!({"engine": "OpenTelemetry"});
    }
    let metadata = Metadata {
        namespace: Some("shop".to_owned()),
        ..Metadata::named("tracing")
    };
    let spec = serde_json::from_value(spec).unwrap();
    validate(&TracingStack::new(metadata, spec)).unwrap()
}

fn context() -> BuildContext {
    BuildContext {
        policies_service: PoliciesService {
            name: "spoor-policies".to_owned(),
            namespace: "spoor".to_owned(),
        },
        cluster_domain: "cluster.local".to_owned(),
        authority: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        pods: PodDefaults::default(),
        sampler_image: SamplerImage {
            reference: "registry.example.com/spoor:1".to_owned(),
            pull_policy: "Always".to_owned(),
        },
    }
}

/// The route and engine in a stack's spec.
fn specified_target(stack: &Stack) -> OtlpTarget {
    OtlpTarget {
        route: stack.route,
        engine: stack.sampler.engine(),
        since: None,
    }
}

/// All objects of a stack.
fn all(stack: &Stack) -> Vec<Manifest> {
    let target = specified_target(stack);
    let built = build(stack, &context(), target, true, &TailTable::default());
    let tiers = built.tiers.into_iter();
    let tiers = tiers.flat_map(|tiers| [tiers.gather, tiers.decide]);
    let tiers = tiers.flat_map(|tier| tier.objects());
    built.objects.into_iter().chain(tiers).collect()
}

/// The objects as a YAML file.
fn yaml(objects: &[Manifest]) -> String {
    let documents = objects
        .iter()
        .map(|manifest| serde_yaml::to_string(&manifest.object).unwrap());
    documents.collect::<Vec<_>>().join("---\n")
}

fn without_collector(stack: &Stack) -> Vec<Manifest> {
    let collector = [labels::Component::Gather, labels::Component::Decide];
    let mut objects = all(stack);
    objects.retain(|manifest| {
        let labels = manifest.object.metadata.labels.as_ref().unwrap();
        let name = labels.get(labels::NAME).map(String::as_str);
        !collector.iter().any(|it| Some(it.as_str()) == name)
    });
    objects
}

#[test]
fn default_stack_builds_jaeger_and_settings() {
    insta::assert_snapshot!(yaml(&without_collector(&stack(json!({})))));
}

/// docs/sdks.md says which SDK reads which variable of `NAME-otel-env`, and its programs are
/// tested with the same sampler and the same members of its argument.
#[test]
fn sdk_page_has_every_variable() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sdks.md");
    let page = fs::read_to_string(page).unwrap();
    let settings = environment::settings(&stack(json!({})), &context());
    let settings = settings.data.unwrap();
    for name in settings.keys() {
        assert!(page.contains(&format!("\n| `{name}` |")), "{name}");
    }
    let exported = |name: &str| {
        let export = format!("export {name}=");
        let line = page.lines().find_map(|line| line.strip_prefix(&export));
        line.unwrap_or_else(|| panic!("{name}")).to_owned()
    };
    let sampler = "OTEL_TRACES_SAMPLER";
    assert_eq!(exported(sampler), settings[sampler]);
    let members = |argument: &str| -> Vec<String> {
        let pairs = argument.split(',').map(|pair| pair.split('='));
        pairs
            .filter_map(|mut pair| pair.next().map(str::to_owned))
            .collect()
    };
    let argument = "OTEL_TRACES_SAMPLER_ARG";
    assert_eq!(members(&exported(argument)), members(&settings[argument]));
}

const TLS: &str =
    "{caSecretName: storage-ca, certSecretName: storage-client, serverName: db.example.com}";

#[rstest]
#[case(
    "badger",
    "{badger: {size: 2Gi, storageClassName: fast, retention: 24h}}"
)]
#[case(
    "opensearch",
    "{opensearch: {urls: [https://search-0:9200, https://search-1:9200], indexPrefix: shop, credentials: {secretName: login}, tls: TLS}}"
)]
#[case("elasticsearch", "{elasticsearch: {urls: [http://search:9200]}}")]
#[case(
    "cassandra",
    "{cassandra: {hosts: [ring-0, 'ring-1:9142'], keyspace: traces, datacenter: east, credentials: {secretName: login}, tls: TLS}}"
)]
#[case("cassandra_plain", "{cassandra: {hosts: [ring]}}")]
#[case(
    "clickhouse",
    "{clickhouse: {addresses: ['click:9000'], credentials: {secretName: login}}}"
)]
#[case(
    "clickhouse_tls",
    "{clickhouse: {addresses: ['click:9440'], credentials: {secretName: login}, tls: TLS}}"
)]
fn each_storage_configures_jaeger(#[case] name: &str, #[case] storage: &str) {
    let storage: Value = serde_yaml::from_str(&storage.replace("TLS", TLS)).unwrap();
    // The default image does not support TLS for ClickHouse.
    let image = "jaegertracing/jaeger:2.99.0";
    let stack = stack(json!({"jaeger": {"storage": storage, "image": image}}));
    let mut objects = without_collector(&stack);
    let kinds = ["ConfigMap", "PersistentVolumeClaim", "Deployment"];
    objects.retain(|object| {
        kinds.contains(&&*object.resource.kind) && object.name().starts_with("tracing-jaeger")
    });
    let text = yaml(&objects);
    for line in text.lines().filter(|line| line.contains("password: ")) {
        assert!(
            line.contains("password: '${env:STORAGE_PASSWORD}"),
            "{line}"
        );
    }
    insta::assert_snapshot!(format!("storage_{name}"), text);
}

#[test]
fn jaeger_has_every_setting_of_the_stack() {
    let stack = stack(json!({"jaeger": {
        "storage": {"opensearch": {"urls": ["http://search:9200"]}},
        "replicas": 3,
        "basePath": "/jaeger",
        "prometheus": {"url": "http://prometheus.monitoring.svc:9090"},
        "imagePullPolicy": "Always",
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": 2}},
        "scheduling": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "tracing", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {"nodeAffinity": {}},
            "topologySpreadConstraints": [{
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
            }],
            "priorityClassName": "high",
        },
    }}));
    insta::assert_snapshot!(yaml(&without_collector(&stack)));
}

/// The pod templates of a stack in this context, as JSON.
fn templates(stack: &Stack, context: &BuildContext) -> Vec<Value> {
    let target = specified_target(stack);
    let built = build(stack, context, target, true, &TailTable::default());
    let tiers = built.tiers.into_iter();
    let tiers = tiers.flat_map(|tiers| [tiers.gather, tiers.decide]);
    let tiers = tiers.flat_map(|tier| tier.objects());
    let objects = built.objects.into_iter().chain(tiers);
    let workloads = objects.filter(|object| object.resource.kind == "Deployment");
    let templates: Vec<_> = workloads
        .map(|workload| workload.object.data["spec"]["template"].clone())
        .collect();
    assert_eq!(templates.len(), 3);
    templates
}

#[test]
fn pods_get_the_stacks_additions() {
    let additions = json!({
        "annotations": {"example.com/team": "tracing", "spoor.dev/tail-digest": "mine"},
        "labels": {"team": "tracing", "app.kubernetes.io/name": "mine"},
        "env": [{"name": "GOMEMLIMIT", "value": "1GiB"}, {"name": "GOGC", "value": "50"}],
        "imagePullSecrets": ["registry"],
    });
    let stack = stack(json!({"jaeger": {"pod": additions}, "collector": {"pod": additions}}));
    for template in templates(&stack, &context()) {
        let metadata = &template["metadata"];
        assert_eq!(metadata["annotations"]["example.com/team"], "tracing");
        assert_eq!(metadata["labels"]["team"], "tracing");
        assert_ne!(metadata["labels"]["app.kubernetes.io/name"], "mine");
        let spec = &template["spec"];
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
        let env = spec["containers"][0]["env"].as_array().unwrap();
        let of = |name: &str| -> Vec<_> { env.iter().filter(|it| it["name"] == name).collect() };
        assert_eq!(
            of("GOMEMLIMIT"),
            [&json!({"name": "GOMEMLIMIT", "value": "1GiB"})]
        );
        assert_eq!(of("GOGC"), [&json!({"name": "GOGC", "value": "50"})]);
    }
}

#[test]
fn platform_may_choose_registry_and_users() {
    let pods = PodDefaults {
        image_registry: Some("registry.example.com/mirror".to_owned()),
        user_ids: pod::UserIds::Assigned,
    };
    let context = BuildContext { pods, ..context() };
    for template in templates(&stack(json!({})), &context) {
        let image = template["spec"]["containers"][0]["image"].as_str().unwrap();
        assert!(image.starts_with("registry.example.com/mirror/"), "{image}");
        let security = &template["spec"]["securityContext"];
        assert_eq!(
            security,
            &json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
        );
    }
    let named = json!({"jaeger": {"image": "a/b:1"}, "collector": {"image": "a/b:1"}});
    for template in templates(&stack(named), &context) {
        assert_eq!(template["spec"]["containers"][0]["image"], "a/b:1");
    }
}

#[rstest]
#[case("direct", json!({"route": "Direct"}), Route::Direct)]
#[case("collector", json!({}), Route::Collector)]
#[case(
    "existing_collector",
    json!({"collector": {"existing": {"otlp": "collector.tools.svc:4317"}}}),
    Route::Collector
)]
#[case(
    "existing_on_another_port",
    json!({"collector": {"existing": {"otlp": "collector:14317"}}}),
    Route::Direct
)]
#[case(
    "existing_on_the_http_port",
    json!({"collector": {"existing": {"otlp": "collector:4318"}}}),
    Route::Direct
)]
#[case(
    "existing_jaeger",
    json!({"route": "Direct", "jaeger": {"existing": {"otlp": "jaeger.example.com:4317"}}}),
    Route::Direct
)]
fn otlp_service_follows_the_route(#[case] name: &str, #[case] spec: Value, #[case] to: Route) {
    let stack = stack(spec);
    let since = Some("2027-01-01T12:00:00Z".parse().unwrap());
    let target = OtlpTarget {
        route: to,
        engine: SamplerEngine::OpenTelemetry,
        since,
    };
    let service = otlp_service::service(&stack, target, &context());
    let text = format!(
        "# {}\n{}",
        otlp_service::url(&stack),
        serde_yaml::to_string(&service).unwrap()
    );
    insta::assert_snapshot!(format!("otlp_service_{name}"), text);
}

#[test]
fn existing_parts_are_not_deployed() {
    let stack = stack(json!({
        "jaeger": {"existing": {"otlp": "jaeger.tools.svc:4317"}},
        "collector": {"existing": {"otlp": "collector.tools.svc:4317"}},
    }));
    let names: Vec<_> = all(&stack).iter().map(ToString::to_string).collect();
    let expected = [
        "ConfigMap \"tracing-ca\"",
        "ConfigMap \"tracing-otel-env\"",
        "Service \"tracing-otlp\"",
    ];
    assert_eq!(names, expected);
}

#[test]
fn collector_services_outlive_its_pods() {
    let stack = stack(json!({"route": "Direct"}));
    let target = specified_target(&stack);
    let built = build(&stack, &context(), target, false, &TailTable::default());
    assert_eq!(built.tiers, None);
    let names: Vec<_> = built.objects.iter().map(ToString::to_string).collect();
    for service in ["Service \"tracing-decide\"", "Service \"tracing-gather\""] {
        assert!(names.iter().any(|name| name == service), "{names:?}");
    }
}

/// The stacks that users begin with.
fn samples() -> Vec<Stack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/samples/stacks");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let texts = files.map(|file| fs::read_to_string(file).unwrap());
    let stacks = texts.map(|text| {
        let stack: TracingStack = serde_yaml::from_str(&text).unwrap();
        validate(&stack).unwrap()
    });
    stacks.collect()
}

#[test]
fn pods_meet_the_restricted_security_standard() {
    let samples = samples();
    assert!(samples.len() > 10, "{} samples", samples.len());
    let mut pods = 0;
    for object in samples.iter().flat_map(all) {
        if !["Deployment", "StatefulSet"].contains(&object.resource.kind.as_str()) {
            continue;
        }
        let body = json!(object.object);
        let pod = &body["spec"]["template"]["spec"];
        pods += 1;
        restricted(pod).unwrap_or_else(|problem| panic!("{object}: {problem}"));
        for container in pod["containers"].as_array().unwrap() {
            hardened(container).unwrap_or_else(|problem| panic!("{object}: {problem}"));
        }
    }
    assert!(pods > 20, "{pods} pods");
}

/// The standard's rules for pods on Linux.
fn restricted(pod: &Value) -> Result<(), String> {
    let equal = |value: &Value, expected: Value, field: &str| match *value == expected {
        true => Ok(()),
        false => Err(format!("{field} is {value}")),
    };
    for field in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        equal(&pod[field], Value::Null, field)?;
    }
    let security = &pod["securityContext"];
    equal(&security["runAsNonRoot"], json!(true), "runAsNonRoot")?;
    equal(
        &security["seccompProfile"]["type"],
        json!("RuntimeDefault"),
        "seccomp",
    )?;
    if security["runAsUser"] == json!(0) {
        return Err("runs as root".to_owned());
    }
    let allowed = [
        "configMap",
        "secret",
        "emptyDir",
        "persistentVolumeClaim",
        "projected",
    ];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if !allowed.iter().any(|kind| !volume[kind].is_null()) {
            return Err(format!("a volume of another kind: {volume}"));
        }
    }
    for container in pod["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        equal(
            &security["allowPrivilegeEscalation"],
            json!(false),
            "escalation",
        )?;
        equal(
            &security["capabilities"],
            json!({"drop": ["ALL"]}),
            "capabilities",
        )?;
        equal(&security["privileged"], Value::Null, "privileged")?;
        for port in container["ports"].as_array().into_iter().flatten() {
            equal(&port["hostPort"], Value::Null, "hostPort")?;
        }
    }
    Ok(())
}

/// Restrictions beyond the standard.
fn hardened(container: &Value) -> Result<(), String> {
    if container["securityContext"]["readOnlyRootFilesystem"] != json!(true) {
        return Err("can write its root file system".to_owned());
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        if container[probe].is_null() {
            return Err(format!("has no {probe}"));
        }
    }
    let resources = &container["resources"];
    for amount in ["/requests/cpu", "/limits/memory"] {
        if resources.pointer(amount).is_none() {
            return Err(format!("has no {amount}: {resources}"));
        }
    }
    Ok(())
}
