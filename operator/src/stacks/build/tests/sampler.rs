//! Stacks with Spoor's sampler.

use super::*;
use crate::{
    kubernetes::watch::Key,
    stacks::{apply::owned, parse::StackObject},
};

/// A stack with Spoor's sampler.
fn with_sampler(mut spec: Value) -> Stack {
    spec["sampler"]["engine"] = json!("Spoor");
    stack(spec)
}

/// The body of an object, by its kind and name.
fn body(objects: &[Manifest], title: &str) -> Value {
    let titles: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let found = objects
        .iter()
        .find(|manifest| manifest.to_string() == title);
    let found = found.unwrap_or_else(|| panic!("no {title} in {titles:#?}"));
    json!(found.object)
}

/// The configuration of the Collector.
fn config(objects: &[Manifest]) -> Value {
    let config = objects.iter().find(|manifest| {
        manifest.resource.kind == "ConfigMap" && manifest.name().starts_with("tracing-collector-")
    });
    let config = json!(config.unwrap().object);
    serde_yaml::from_str(config["data"]["config.yaml"].as_str().unwrap()).unwrap()
}

/// The variables of a container, by name.
fn variables(container: &Value) -> std::collections::BTreeMap<String, Value> {
    let variables = container["env"].as_array().unwrap().iter();
    variables
        .map(|it| (it["name"].as_str().unwrap().to_owned(), it["value"].clone()))
        .collect()
}

#[test]
fn sampler_is_between_two_pipelines() {
    let objects = all(&with_sampler(
        json!({"collector": {"exporters": {"debug": {}}}}),
    ));
    let config = config(&objects);
    let pipelines = &config["service"]["pipelines"];
    let exporters = |name: &str| {
        let exporters = pipelines[name]["exporters"].as_array().unwrap().iter();
        let mut names: Vec<_> = exporters.map(|it| it.as_str().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(pipelines["traces/in"]["receivers"], json!(["otlp"]));
    assert_eq!(
        exporters("traces/in"),
        ["otlp_grpc/spoor-sampler", "span_metrics"]
    );
    assert_eq!(
        pipelines["traces/out"]["receivers"],
        json!(["otlp/spoor-kept"])
    );
    assert_eq!(exporters("traces/out"), ["otlp_grpc/spoor-jaeger"]);
    // The limiter would refuse kept spans while others fill the memory.
    assert_eq!(pipelines["traces/out"]["processors"], Value::Null);
    let to_sampler = &config["exporters"]["otlp_grpc/spoor-sampler"];
    assert_eq!(to_sampler["endpoint"], "tracing-sampler:4317");
    let kept = "/receivers/otlp~1spoor-kept/protocols/grpc/endpoint";
    assert_eq!(config.pointer(kept).unwrap(), "0.0.0.0:4319");
}

#[test]
fn collector_has_neither_queues_nor_retries() {
    let config = config(&all(&with_sampler(json!({}))));
    for exporter in ["otlp_grpc/spoor-sampler", "otlp_grpc/spoor-jaeger"] {
        let exporter = &config["exporters"][exporter];
        assert_eq!(exporter["sending_queue"], json!({"enabled": false}));
        assert_eq!(exporter["retry_on_failure"], json!({"enabled": false}));
        let keepalive = json!({"time": "10s", "timeout": "5s"});
        assert_eq!(exporter["keepalive"], keepalive);
    }
    // The sampler refuses what is larger.
    let max = spoor_traces::ReceiveSettings::default().max_body_bytes;
    let clients = &config["receivers"]["otlp"]["protocols"];
    assert_eq!(clients["grpc"]["max_recv_msg_size_mib"], json!(max >> 20));
    assert_eq!(clients["http"]["max_request_body_size"], json!(max));
}

#[test]
fn additional_exporters_have_their_own_pipeline() {
    let config = |exporters: Value| config(&all(&with_sampler(json!({"collector": exporters}))));
    let without = config(json!({}));
    let with = config(json!({"exporters": {"debug": {}}}));
    let additional = "/service/pipelines/traces~1additional";
    assert_eq!(without.pointer(additional), None);
    let additional = with.pointer(additional).unwrap();
    assert_eq!(additional["receivers"], json!(["otlp/spoor-kept"]));
    assert_eq!(additional["exporters"], json!(["debug"]));
    // This processor returns no error to the sampler.
    assert_eq!(additional["processors"], json!(["batch/spoor-additional"]));
}

#[test]
fn configuration_does_not_depend_on_rules() {
    let stack = with_sampler(json!({}));
    let text = "{apiVersion: spoor.dev/v1alpha1, kind: SamplingPolicy, metadata: {name: errors, namespace: shop}, spec: {tail: {otherwise: 0%, keep: [{name: errors, error: {}}]}}}";
    let policy: spoor_api::SamplingPolicy = serde_yaml::from_str(text).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let policy = policy.validate(now).unwrap();
    let tail = spoor_policy::resolve(&[policy], now).tail;
    let target = specified_target(&stack);
    let with_rules = build(&stack, &context(), target, true, &tail);
    let without_rules = build(&stack, &context(), target, true, &TailTable::default());
    assert_eq!(with_rules, without_rules);
    assert_eq!(with_rules.tiers, None);
}

#[test]
fn services_send_to_the_collector() {
    let objects = all(&with_sampler(json!({})));
    let service = body(&objects, "Service \"tracing-otlp\"");
    let selector = &service["spec"]["selector"];
    assert_eq!(selector["app.kubernetes.io/name"], "collector");
    let engine = &service["metadata"]["annotations"]["spoor.dev/sampler-engine"];
    assert_eq!(engine, "Spoor");
    let kept = body(&objects, "Service \"tracing-collector-kept\"");
    assert_eq!(kept["spec"]["ports"][0]["port"], 4319);
    assert_eq!(kept["spec"]["clusterIP"], Value::Null);
    let pods = body(&objects, "Service \"tracing-sampler-pods\"");
    assert_eq!(pods["spec"]["clusterIP"], "None");
    assert_eq!(pods["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(pods["spec"]["ports"][1]["port"], 4320);
    let sampler = body(&objects, "StatefulSet \"tracing-sampler\"");
    assert_eq!(sampler["spec"]["serviceName"], "tracing-sampler-pods");
}

#[test]
fn sampler_has_the_settings_of_the_stack() {
    let objects = all(&with_sampler(json!({"sampler": {
        "decisionWait": "2s",
        "maxTraceDuration": "1m",
        "memory": "512Mi",
        "storage": {"size": "2Gi"},
    }})));
    let set = body(&objects, "StatefulSet \"tracing-sampler\"");
    let template = &set["spec"]["template"];
    let label = &template["metadata"]["labels"]["app.kubernetes.io/name"];
    assert_eq!(label, "sampler");
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/spoor:1");
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["args"], json!(["run", "sampler"]));
    assert_eq!(container["resources"]["limits"]["memory"], "1280Mi");
    assert_eq!(container["startupProbe"]["failureThreshold"], 204);
    let variables = variables(container);
    for (name, value) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://tracing-collector-kept:4319",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.namespace=shop,service.instance.id=$(POD_NAME)",
        ),
        ("SPOOR_CONTROL_CA_FILE", "/etc/spoor/ca/ca.crt"),
        (
            "SPOOR_CONTROL_ENDPOINT",
            "https://spoor-policies.spoor.svc:5780",
        ),
        (
            "SPOOR_CONTROL_TOKEN_FILE",
            "/var/run/secrets/spoor.dev/token",
        ),
        ("SPOOR_DECIDE_AT_SHUTDOWN", "true"),
        ("SPOOR_DECISION_WAIT", "2000ms"),
        ("SPOOR_MAX_TRACE_DURATION", "60000ms"),
        ("SPOOR_MEMORY", "536870912"),
        ("SPOOR_NAMESPACE", "shop"),
        (
            "SPOOR_PEERS",
            "tracing-sampler-{ordinal}.tracing-sampler-pods.shop.svc:4320",
        ),
        ("SPOOR_PEERS_LISTEN", "0.0.0.0:4320"),
        ("SPOOR_PEERS_TOKEN_FILE", "/etc/spoor/peers/token"),
        ("SPOOR_STACK", "tracing"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert_eq!(container["env"][0]["name"], "POD_NAME");
    // Long enough to give its journal to another sampler.
    assert_eq!(template["spec"]["terminationGracePeriodSeconds"], 60);
    let volumes = &template["spec"]["volumes"];
    assert_eq!(volumes[0]["emptyDir"]["sizeLimit"], "2147483648");
    let token = &volumes[1]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "spoor.dev");
    assert_eq!(volumes[2]["configMap"]["name"], "tracing-ca");
}

#[test]
fn claim_outlives_the_pod() {
    let storage = json!({"size": "2Gi", "claim": {"storageClassName": "fast"}});
    let spec = json!({"sampler": {"replicas": 2, "storage": storage}});
    let objects = all(&with_sampler(spec));
    let set = body(&objects, "StatefulSet \"tracing-sampler\"");
    assert_eq!(set["spec"]["replicas"], 2);
    let template = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(template["metadata"]["name"], "journal");
    for ordinal in 0..2 {
        // The name that the StatefulSet gives to the claim of this pod.
        let name = format!("journal-tracing-sampler-{ordinal}");
        let claim = body(&objects, &format!("PersistentVolumeClaim \"{name}\""));
        assert_eq!(claim["spec"], template["spec"]);
        assert_eq!(claim["spec"]["storageClassName"], "fast");
        let requests = &claim["spec"]["resources"]["requests"];
        assert_eq!(requests["storage"], "2147483648");
    }
    let pod = &set["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap().iter();
    let names: Vec<_> = volumes.map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["token", "ca", "peers"],
        "the template gives each pod its own"
    );
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["name"], "journal");
    let variables = variables(&pod["containers"][0]);
    assert_eq!(variables["SPOOR_DECIDE_AT_SHUTDOWN"], "false");
}

#[test]
fn only_samplers_return_spans() {
    let objects = all(&with_sampler(json!({})));
    let from = |policy: &str, port: u16| {
        let policy = body(&objects, policy);
        let rules = policy["spec"]["ingress"].as_array().unwrap();
        let rule = rules.iter().find(|rule| {
            let ports = rule["ports"].as_array().unwrap();
            ports.iter().any(|it| it["port"] == json!(port))
        });
        let peer = &rule.unwrap()["from"][0]["podSelector"]["matchLabels"];
        peer["app.kubernetes.io/name"].clone()
    };
    assert_eq!(from("NetworkPolicy \"tracing-collector\"", 4319), "sampler");
    assert_eq!(from("NetworkPolicy \"tracing-sampler\"", 4317), "collector");
    assert_eq!(from("NetworkPolicy \"tracing-sampler\"", 4320), "sampler");
}

#[test]
fn samplers_share_a_token() {
    // A single one has it, too, since others may join.
    let objects = all(&with_sampler(json!({})));
    let secret = body(&objects, "Secret \"tracing-sampler-peers\"");
    let labels = &secret["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/name"], "sampler");
    // The token is added when the Secret is created.
    assert!(secret["data"].is_null() && secret["stringData"].is_null());
    let set = body(&objects, "StatefulSet \"tracing-sampler\"");
    let pod = &set["spec"]["template"]["spec"];
    let volume = json!({
        "name": "peers",
        "secret": {"secretName": "tracing-sampler-peers", "defaultMode": 0o440},
    });
    assert!(pod["volumes"].as_array().unwrap().contains(&volume));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = json!({"name": "peers", "mountPath": "/etc/spoor/peers", "readOnly": true});
    assert!(mounts.contains(&mount), "{mounts:?}");
    let without = all(&stack(json!({})));
    assert!(!without.iter().any(|it| it.resource.kind == "Secret"));
}

/// A stack with an existing Collector, and a sampler that returns spans to this address.
fn with_existing_collector(otlp: &str, kept: &str) -> Vec<Manifest> {
    all(&stack(json!({
        "jaeger": {"existing": {"otlp": "jaeger.tools.svc:4317"}},
        "collector": {"existing": {"otlp": otlp, "kept": kept}},
    })))
}

#[test]
fn sampler_returns_spans_to_an_existing_collector() {
    let objects = with_existing_collector("collector.tools.svc:4317", "collector.tools.svc:4319");
    let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
    let expected = [
        "ConfigMap \"tracing-ca\"",
        "ConfigMap \"tracing-otel-env\"",
        "Secret \"tracing-sampler-peers\"",
        "Service \"tracing-otlp\"",
        "Service \"tracing-sampler\"",
        "Service \"tracing-sampler-pods\"",
        "NetworkPolicy \"tracing-sampler\"",
        "StatefulSet \"tracing-sampler\"",
    ];
    assert_eq!(names, expected);
    let service = body(&objects, "Service \"tracing-otlp\"");
    let alias = &service["spec"]["externalName"];
    assert_eq!(alias, "collector.tools.svc.cluster.local");
    let set = body(&objects, "StatefulSet \"tracing-sampler\"");
    let variables = variables(&set["spec"]["template"]["spec"]["containers"][0]);
    let output = "http://collector.tools.svc:4319";
    assert_eq!(variables["OTEL_EXPORTER_OTLP_ENDPOINT"], output);
    let set = serde_json::from_value(set).unwrap();
    assert_eq!(crate::stacks::sampler::output(&set), Some(output));
}

#[rstest]
#[case("collector.tools.svc:4317", "collector.tools.svc:4319", &["tools"])]
#[case("collector:4317", "gateway.tools.svc.cluster.local:4319", &["shop", "tools"])]
#[case("collector.example.com:4317", "kept.example.com:4317", &[])]
fn namespaces_of_an_existing_collector_may_send(
    #[case] otlp: &str,
    #[case] kept: &str,
    #[case] expected: &[&str],
) {
    let policy = body(
        &with_existing_collector(otlp, kept),
        "NetworkPolicy \"tracing-sampler\"",
    );
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let rules = rules.iter().filter(|rule| rule["ports"][0]["port"] == 4317);
    let senders = rules.map(|rule| {
        // A rule without senders would admit everyone.
        let senders = rule["from"].as_array().unwrap();
        assert_eq!(senders.len(), 1);
        let labels = &senders[0]["namespaceSelector"]["matchLabels"];
        labels["kubernetes.io/metadata.name"].as_str().unwrap()
    });
    assert_eq!(senders.collect::<Vec<_>>(), expected);
}

#[test]
fn services_outlive_the_pods_of_the_sampler() {
    let stack = with_sampler(json!({"route": "Direct"}));
    let target = specified_target(&stack);
    let built = build(&stack, &context(), target, false, &TailTable::default());
    let names: Vec<_> = built.objects.iter().map(ToString::to_string).collect();
    for service in [
        "tracing-collector",
        "tracing-collector-kept",
        "tracing-sampler",
    ] {
        let title = format!("Service \"{service}\"");
        assert!(names.contains(&title), "{names:?}");
    }
    let has_pods = |manifest: &Manifest| manifest.resource.kind == "StatefulSet";
    assert!(!built.objects.iter().any(has_pods), "{names:?}");
}

/// An operator that predates samplers deletes every object that a stack controls and that it does
/// not build.
#[test]
fn former_operator_leaves_the_sampler() {
    let object = StackObject {
        key: Key {
            namespace: "shop".to_owned(),
            name: "tracing".to_owned(),
        },
        uid: "1".to_owned(),
        generation: None,
        resource_version: None,
        forgotten_samplers: std::collections::BTreeSet::new(),
        is_being_deleted: false,
        spec: Value::Null,
        status: Value::Null,
    };
    let former = all(&stack(json!({})));
    let former: Vec<_> = former.iter().map(ToString::to_string).collect();
    let storage = json!({"claim": {"storageClassName": "fast"}});
    let spec = json!({"collector": {"replicas": 2}, "sampler": {"storage": storage}});
    let mut left = 0;
    for manifest in all(&with_sampler(spec)) {
        let title = manifest.to_string();
        let metadata = owned(manifest, &object).object.metadata;
        let owners = metadata.owner_references.unwrap();
        let owner = owners.first().unwrap();
        assert_eq!(owner.uid, "1", "{title}");
        assert_eq!(owner.controller, Some(former.contains(&title)), "{title}");
        left += usize::from(owner.controller == Some(false));
    }
    assert!(left > 8, "{left} objects");
}
