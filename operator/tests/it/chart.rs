//! The chart: what it renders, and what it refuses.

mod applications;
mod dashboard;
mod monitoring;
mod permissions;
mod pods;
mod prometheus;
mod render;
mod reuse;
mod tracing;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use render::{CHART, has_helm, notes, objects, refusal};

/// Values that enable every object of the chart but those of `monitoring` and the gateway's routes.
const EVERYTHING: [&str; 9] = [
    "operator.stacks.replicas=2",
    "operator.policies.replicas=2",
    "applications.wishlist.wishlist.database.secretName=database",
    "applications.wishlist.wishlist.replicas=2",
    "applications.tasks.redis.password.secretName=redis",
    "applications.vision.mobilenetv2.model.file=imagenet.onnx",
    "applications.vision.mobilenetv2.model.volume.persistentVolumeClaim.claimName=models",
    "prometheus.enabled=true",
    "load.scenario=spike",
];
/// Every service of the chart, with its callers. An edge has no list of them.
pub const SERVICES: [(&str, Option<&[&str]>); 15] = [
    ("service-a", None),
    ("service-b", Some(&["service-a"])),
    ("gateway", None),
    ("wishlist", Some(&["gateway", "offers"])),
    ("offers", Some(&["gateway"])),
    ("marketplace-attic", Some(&["offers"])),
    ("marketplace-bazaar", Some(&["offers"])),
    ("marketplace-corner", Some(&["offers"])),
    ("bands", None),
    ("reviews", Some(&["bands"])),
    ("tasks", None),
    ("preprocessing", None),
    ("ensemble", Some(&["preprocessing"])),
    ("efficientnetb0", Some(&["ensemble"])),
    ("mobilenetv2", Some(&["ensemble"])),
];

/// The edges among them.
pub fn edges() -> impl Iterator<Item = &'static str> {
    let edges = SERVICES
        .into_iter()
        .filter(|(_, callers)| callers.is_none());
    edges.map(|(name, _)| name)
}

/// A service, those that it calls, and those that they call.
pub fn reached_from(service: &'static str) -> Vec<&'static str> {
    let mut reached = vec![service];
    for (callee, callers) in SERVICES {
        if callers.is_some_and(|callers| callers.contains(&service)) {
            reached.extend(reached_from(callee));
        }
    }
    reached
}

/// Values that switch off every application but one.
pub fn without_applications_but(kept: &str) -> Vec<String> {
    let values = std::fs::read_to_string(format!("{CHART}/values.yaml")).unwrap();
    let values: Value = serde_yaml::from_str(&values).unwrap();
    let applications = values["applications"].as_object().unwrap().iter();
    let others = applications.filter(|(name, it)| it["enabled"].is_boolean() && *name != kept);
    others
        .map(|(name, _)| format!("applications.{name}.enabled=false"))
        .collect()
}

#[test]
fn pods_meet_the_restricted_standard() {
    if !has_helm("chart::pods_meet_the_restricted_standard") {
        return;
    }
    let pods = [objects(&[]), objects(&EVERYTHING)].concat();
    let pods: Vec<&Value> = pods.iter().filter_map(pod).collect();
    assert!(pods.len() >= 45, "{}", pods.len());
    for pod in pods {
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["runAsUser"], 65532);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[host].is_null(), "{pod}");
        }
        for volume in list(&pod["volumes"]) {
            assert!(volume["hostPath"].is_null(), "{volume}");
        }
        for container in list(&pod["containers"]) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false);
            assert_eq!(security["readOnlyRootFilesystem"], true);
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
            assert_eq!(container["imagePullPolicy"], "IfNotPresent");
            for kind in ["requests", "limits"] {
                let memory = &container["resources"][kind]["memory"];
                assert!(memory.is_string(), "{container}");
            }
        }
    }
}

#[test]
fn probes_and_services_use_existing_ports() {
    if !has_helm("chart::probes_and_services_use_existing_ports") {
        return;
    }
    let objects = objects(&EVERYTHING);
    let deployments = of_kind(&objects, "Deployment");
    // With both roles of the operator, Redis and Prometheus.
    assert_eq!(deployments.len(), SERVICES.len() + 4);
    for deployment in &deployments {
        let name = deployment["metadata"]["name"].as_str().unwrap();
        let container = &pod(deployment).unwrap()["containers"][0];
        let ports: BTreeSet<&str> = names(&container["ports"]);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = &container[probe];
            match name {
                "redis" => assert!(probe["tcpSocket"].is_object() || probe["exec"].is_object()),
                "prometheus" => assert_eq!(probe["httpGet"]["port"], "http"),
                _ => assert_eq!(probe["httpGet"]["port"], "ops", "{container}"),
            }
        }
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        for service in of_kind(&objects, "Service") {
            if !contains(labels, &service["spec"]["selector"]) {
                continue;
            }
            for port in list(&service["spec"]["ports"]) {
                let target = port["targetPort"].as_str().unwrap();
                assert!(ports.contains(target), "{service}");
            }
        }
    }
}

#[test]
fn services_have_tokens_and_stack_settings() {
    if !has_helm("chart::services_have_tokens_and_stack_settings") {
        return;
    }
    let objects = objects(&["stack.name=mine"]);
    for (name, _) in SERVICES {
        let deployment = named(&objects, "Deployment", name);
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["spoor.dev/service"], name);
        let pod = pod(deployment).unwrap();
        assert_eq!(pod["automountServiceAccountToken"], false);
        let container = &pod["containers"][0];
        assert_eq!(
            container["envFrom"],
            json!([{"configMapRef": {"name": "mine-otel-env"}}])
        );
        let token = volume(pod, "token");
        assert_eq!(
            token["projected"]["sources"],
            json!([{"serviceAccountToken": {
                "audience": "spoor.dev", "path": "token", "expirationSeconds": 3600
            }}])
        );
        assert_eq!(volume(pod, "ca")["configMap"], json!({"name": "mine-ca"}));
        assert_eq!(
            variable(container, "SPOOR_CONTROL_TOKEN_FILE"),
            "/var/run/secrets/spoor.dev/token"
        );
        assert_eq!(
            variable(container, "SPOOR_CONTROL_CA_FILE"),
            "/etc/spoor/ca/ca.crt"
        );
        let account = named(&objects, "ServiceAccount", name);
        assert_eq!(account["automountServiceAccountToken"], false);
    }
}

#[test]
fn unready_standby_does_not_block_rollout() {
    if !has_helm("chart::unready_standby_does_not_block_rollout") {
        return;
    }
    let objects = objects(&EVERYTHING);
    for name in ["spoor-stacks", "spoor-policies"] {
        let deployment = named(&objects, "Deployment", name);
        assert_eq!(deployment["spec"]["replicas"], 2);
        assert_eq!(
            deployment["spec"]["strategy"]["rollingUpdate"],
            json!({"maxUnavailable": "100%", "maxSurge": 0})
        );
    }
    // A budget that required a Ready pod of `policies` would never let the leader be evicted.
    for (name, max_unavailable) in [
        ("spoor-stacks", json!(1)),
        ("spoor-policies", json!("100%")),
    ] {
        let budget = named(&objects, "PodDisruptionBudget", name);
        assert_eq!(budget["spec"]["maxUnavailable"], max_unavailable);
        let deployment = named(&objects, "Deployment", name);
        assert_eq!(budget["spec"]["selector"], deployment["spec"]["selector"]);
    }
    let alone = render::objects(&[]);
    let budgets = of_kind(&alone, "PodDisruptionBudget");
    let of_operator = |it: &&&Value| it["metadata"]["name"].as_str().unwrap().contains("spoor");
    assert_eq!(budgets.iter().filter(of_operator).count(), 0);
}

#[rstest::rstest]
#[case("operator.enabled=false", &["ClusterRole", "Lease", "Secret", "Job"], &["TracingStack"])]
#[case("stack.enabled=false", &["TracingStack"], &["Lease"])]
#[case("crds.upgrade=false", &["Job"], &["TracingStack"])]
#[case("networkPolicies.enabled=false", &["NetworkPolicy"], &["Service"])]
#[case("applications.ab.enabled=false", &["PodDisruptionBudget"], &["Service"])]
#[case("prometheus.enabled=false", &["ConfigMap"], &["Service"])]
fn disabled_parts_are_not_rendered(
    #[case] value: &str,
    #[case] gone: &[&str],
    #[case] kept: &[&str],
) {
    if !has_helm("chart::disabled_parts_are_not_rendered") {
        return;
    }
    let objects = objects(&[value]);
    for kind in gone {
        assert!(of_kind(&objects, kind).is_empty(), "{kind}");
    }
    for kind in kept {
        assert!(!of_kind(&objects, kind).is_empty(), "{kind}");
    }
}

#[test]
fn notes_list_the_port_forwards() {
    if !has_helm("chart::notes_list_the_port_forwards") {
        return;
    }
    let all = notes(&[]);
    let objects = objects(&[]);
    let port = |edge| &named(&objects, "Service", edge)["spec"]["ports"][0]["port"];
    let forwards = edges().map(|edge| format!("{edge} {}", port(edge)));
    for forward in forwards.chain(["tracing-query 16686".to_owned()]) {
        let forward = format!("kubectl -n lab port-forward service/{forward}\n");
        assert!(all.contains(&forward), "{forward}: {all}");
    }
    assert!(all.contains("http://localhost:16686/jaeger/search"));
    let less = notes(&["applications.wishlist.enabled=false"]);
    assert!(!less.contains("8081"), "{less}");
    let more = notes(&EVERYTHING);
    assert!(more.contains("service/prometheus 9090"), "{more}");
    assert!(more.contains("job/load-spike-1"), "{more}");
}

#[rstest::rstest]
#[case("replicas=1", "additional properties 'replicas' not allowed")]
#[case("applications.ab.serviceC.replicas=1", "'serviceC' not allowed")]
#[case(
    "applications.ab.serviceA.replicas=many",
    "/serviceA/replicas': got string, want integer"
)]
#[case("applications.ab.serviceB.errorRate=half", "/serviceB/errorRate")]
#[case("applications.ab.serviceB.calc=9000000", "/serviceB/calc': maximum")]
#[case("operator.policies.replicas=-1", "/policies/replicas': minimum")]
#[case(
    "operator.enabled=sometimes",
    "/operator/enabled': got string, want boolean"
)]
#[case(
    "images.pullPolicy=Sometimes",
    "/images/pullPolicy': value must be one of"
)]
#[case("stack.name=My_Stack", "/stack/name")]
#[case("stack.spec=none", "/stack/spec': got string, want null or object")]
#[case("applications.wishlist.gateway.traceUrl=nowhere", "/gateway/traceUrl")]
#[case("operator.stacks.resources.limits.memory=much", "/limits/memory")]
#[case("operator.stacks.scheduling.nodeName=a", "'nodeName' not allowed")]
#[case("applications.tasks.redis.maxMemory=much", "/redis/maxMemory")]
#[case(
    "applications.wishlist.marketplaces.corner.rateLimit=0",
    "/corner/rateLimit"
)]
#[case("applications.vision.mobilenetv2.model.file=../b0.onnx", "/model/file")]
#[case(
    "applications.vision.mobilenetv2.model.file=b0.onnx",
    "applications.vision.mobilenetv2.model: file and volume must be set together"
)]
#[case("operator.tracing.probability=2", "/tracing/probability': maximum")]
#[case(
    "operator.tracing.endpoint=collector:4317",
    "/tracing/endpoint': 'collector:4317' does not match pattern"
)]
#[case("operator.namespaces={A}", "/operator/namespaces/0")]
#[case("operator.namespaces={a}", "operator.namespaces does not include lab")]
#[case("images.operator.digest=sha256:1", "/operator/digest")]
#[case("pods.env[0].value=1", "missing property 'name'")]
#[case("securityContext.runAsUser=root", "/securityContext/runAsUser")]
#[case("monitoring.interval=often", "/monitoring/interval")]
#[case(
    "applications.wishlist.gateway.httpRoute.enabled=true",
    "httpRoute.parentRefs is empty"
)]
#[case("prometheus.retention.time=long", "/retention/time")]
#[case("load.scenario=fast", "/load/scenario")]
#[case(
    "applications.wishlist.wishlist.replicas=2",
    "applications.wishlist.wishlist.database.secretName"
)]
fn invalid_value_is_named(#[case] value: &str, #[case] message: &str) {
    if !has_helm("chart::invalid_value_is_named") {
        return;
    }
    let refusal = refusal(&[value]);
    assert!(refusal.contains(message), "{refusal}");
}

/// The pod spec of an object.
fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str()? {
        "Pod" => Some(&object["spec"]),
        "Deployment" | "Job" => Some(&object["spec"]["template"]["spec"]),
        _ => None,
    }
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> Vec<&'o Value> {
    let of_kind = |object: &&Value| object["kind"] == kind;
    objects.iter().filter(of_kind).collect()
}

fn named<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    of_kind(objects, kind)
        .into_iter()
        .find(|object| object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn volume<'p>(pod: &'p Value, name: &str) -> &'p Value {
    list(&pod["volumes"])
        .iter()
        .find(|volume| volume["name"] == name)
        .unwrap_or_else(|| panic!("no volume {name}"))
}

fn variable<'c>(container: &'c Value, name: &str) -> &'c str {
    let found = list(&container["env"])
        .iter()
        .find(|variable| variable["name"] == name);
    found.unwrap()["value"].as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn names(value: &Value) -> BTreeSet<&str> {
    list(value)
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

fn contains(labels: &Value, selector: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|selector| selector.iter().all(|(key, value)| labels[key] == *value))
}
