//! The values for all pods: annotations, labels, variables, images, users.

use serde_json::{Value, json};

use super::{
    EVERYTHING, list, named, of_kind, pod,
    render::{has_helm, objects},
    variable,
};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The metadata of the pod of an object.
fn pod_metadata(object: &Value) -> &Value {
    match object["kind"].as_str() {
        Some("Pod") => &object["metadata"],
        _ => &object["spec"]["template"]["metadata"],
    }
}

fn with_everything(values: &[&str]) -> Vec<Value> {
    objects(&[&EVERYTHING[..], values].concat())
}

#[test]
fn every_pod_gets_the_common_additions() {
    if !has_helm("chart::every_pod_gets_the_common_additions") {
        return;
    }
    let objects = with_everything(&[
        "pods.annotations.team=tracing",
        "pods.labels.team=tracing",
        "pods.labels.app\\.kubernetes\\.io/name=mine",
        "pods.env[0].name=RUST_LOG,pods.env[0].value=debug",
        "pods.env[1].name=GOMEMLIMIT,pods.env[1].value=1GiB",
        "applications.ab.serviceA.pod.annotations.team=a",
        "applications.ab.serviceA.pod.env[0].name=RUST_LOG",
        "applications.ab.serviceA.pod.env[0].valueFrom.fieldRef.fieldPath=metadata.name",
    ]);
    let made: Vec<_> = objects.iter().filter(|it| pod(it).is_some()).collect();
    assert!(made.len() > 20, "{}", made.len());
    for object in made {
        let metadata = pod_metadata(object);
        let is_a = object["metadata"]["name"] == "service-a";
        let team = if is_a { "a" } else { "tracing" };
        assert_eq!(metadata["annotations"]["team"], team, "{object}");
        assert_eq!(metadata["labels"]["team"], "tracing");
        assert_ne!(metadata["labels"]["app.kubernetes.io/name"], "mine");
        let env = list(&pod(object).unwrap()["containers"][0]["env"]);
        let of = |name: &str| -> Vec<_> { env.iter().filter(|it| it["name"] == name).collect() };
        let [level] = of("RUST_LOG")[..] else {
            panic!("{env:?}");
        };
        assert_eq!(level["valueFrom"].is_object(), is_a, "{level}");
        assert_eq!(of("GOMEMLIMIT").len(), 1, "{env:?}");
    }
    let stack = &named(&objects, "TracingStack", "tracing")["spec"];
    for part in ["jaeger", "collector", "sampler"] {
        let pod = &stack[part]["pod"];
        assert_eq!(pod["annotations"], json!({"team": "tracing"}));
        assert_eq!(
            pod["env"][1],
            json!({"name": "GOMEMLIMIT", "value": "1GiB"})
        );
    }
}

#[test]
fn stack_keeps_its_own_pull_secrets() {
    if !has_helm("chart::stack_keeps_its_own_pull_secrets") {
        return;
    }
    let objects = objects(&[
        "images.pullSecrets={registry}",
        "stack.spec.collector.pod.imagePullSecrets={mine}",
        "stack.spec.collector.pod.env[0].name=A,stack.spec.collector.pod.env[0].value=own",
        "pods.env[0].name=A,pods.env[0].value=all",
    ]);
    let stack = &named(&objects, "TracingStack", "tracing")["spec"];
    assert_eq!(
        stack["jaeger"]["pod"]["imagePullSecrets"],
        json!(["registry"])
    );
    assert_eq!(
        stack["collector"]["pod"],
        json!({"imagePullSecrets": ["mine"], "env": [{"name": "A", "value": "own"}]})
    );
    assert_eq!(
        stack["sampler"]["pod"]["imagePullSecrets"],
        json!(["registry"])
    );
    for object in objects.iter().filter_map(pod) {
        assert_eq!(object["imagePullSecrets"], json!([{"name": "registry"}]));
    }
}

#[test]
fn sampler_of_an_existing_collector_has_additions() {
    if !has_helm("chart::sampler_of_an_existing_collector_has_additions") {
        return;
    }
    let secret = "images.pullSecrets={registry}";
    let otlp = "stack.spec.collector.existing.otlp=collector.tools.svc:4317";
    let kept = "stack.spec.collector.existing.kept=collector.tools.svc:4319";
    let with_kept = named(&objects(&[secret, otlp, kept]), "TracingStack", "tracing").clone();
    assert_eq!(
        with_kept["spec"]["sampler"]["pod"]["imagePullSecrets"],
        json!(["registry"])
    );
    assert!(with_kept["spec"]["collector"]["pod"].is_null());
    // Without a sampler, the field is refused.
    let without = named(&objects(&[secret, otlp]), "TracingStack", "tracing").clone();
    assert!(without["spec"]["sampler"].is_null(), "{without}");
}

#[test]
fn stack_without_additions_is_unchanged() {
    if !has_helm("chart::stack_without_additions_is_unchanged") {
        return;
    }
    let spec = named(&objects(&[]), "TracingStack", "tracing")["spec"].clone();
    assert!(spec["collector"].is_null(), "{spec}");
    assert!(spec["sampler"].is_null(), "{spec}");
    assert!(spec["jaeger"]["pod"].is_null(), "{spec}");
}

#[test]
fn every_image_comes_from_one_registry() {
    if !has_helm("chart::every_image_comes_from_one_registry") {
        return;
    }
    let objects = with_everything(&[
        "global.imageRegistry=registry.example.com/mirror/",
        "images.applications.repository=localhost:5000/team/spoor",
        "prometheus.image=quay.io/prometheus/prometheus:v3",
    ]);
    for container in objects
        .iter()
        .filter_map(pod)
        .map(|pod| &pod["containers"][0])
    {
        let image = container["image"].as_str().unwrap();
        let rest = image.strip_prefix("registry.example.com/mirror/").unwrap();
        let expected = [
            "spoor-operator:dev",
            "team/spoor:dev",
            "prometheus/prometheus:v3",
            "redis:7.0",
        ];
        assert!(expected.contains(&rest), "{image}");
    }
    let stacks = pod(named(&objects, "Deployment", "spoor-stacks")).unwrap();
    assert_eq!(
        variable(&stacks["containers"][0], "SPOOR_IMAGE_REGISTRY"),
        "registry.example.com/mirror/"
    );
}

#[test]
fn digest_replaces_the_tag() {
    if !has_helm("chart::digest_replaces_the_tag") {
        return;
    }
    let digest = format!("images.operator.digest={DIGEST}");
    let objects = objects(&[&digest, "images.operator.tag=1.2"]);
    let stacks = pod(named(&objects, "Deployment", "spoor-stacks")).unwrap();
    let expected = format!("spoor-operator@{DIGEST}");
    assert_eq!(stacks["containers"][0]["image"], expected.as_str());
}

#[test]
fn user_ids_can_be_left_to_the_platform() {
    if !has_helm("chart::user_ids_can_be_left_to_the_platform") {
        return;
    }
    let fields = ["runAsUser", "runAsGroup", "fsGroup"];
    let values = fields.map(|field| format!("securityContext.{field}=null"));
    let free = with_everything(&values.each_ref().map(String::as_str));
    for pod in free.iter().filter_map(pod) {
        assert_eq!(
            pod["securityContext"],
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
        );
    }
    for (objects, expected) in [(free, "assigned"), (objects(&[]), "image")] {
        let stacks = pod(named(&objects, "Deployment", "spoor-stacks")).unwrap();
        let container = &stacks["containers"][0];
        assert_eq!(variable(container, "SPOOR_POD_USER_IDS"), expected);
    }
}

#[test]
fn gateway_can_be_exposed() {
    if !has_helm("chart::gateway_can_be_exposed") {
        return;
    }
    let gateway = "applications.wishlist.gateway";
    let values = [
        format!("{gateway}.ingress.enabled=true"),
        format!("{gateway}.ingress.className=nginx"),
        format!("{gateway}.ingress.host=spoor.example.com"),
        format!("{gateway}.ingress.tlsSecretName=spoor-tls"),
        format!("{gateway}.httpRoute.enabled=true"),
        format!("{gateway}.httpRoute.parentRefs[0].name=public"),
        format!("{gateway}.httpRoute.hostnames={{spoor.example.com}}"),
    ];
    let objects_with = objects(&values.each_ref().map(String::as_str));
    let service = named(&objects_with, "Service", "gateway");
    let port = &service["spec"]["ports"][0];
    let ingress = &named(&objects_with, "Ingress", "gateway")["spec"];
    assert_eq!(ingress["ingressClassName"], "nginx");
    let rule = &ingress["rules"][0];
    assert_eq!(rule["host"], "spoor.example.com");
    let backend = &rule["http"]["paths"][0]["backend"]["service"];
    assert_eq!(
        backend,
        &json!({"name": "gateway", "port": {"name": port["name"]}})
    );
    assert_eq!(
        ingress["tls"],
        json!([{"secretName": "spoor-tls", "hosts": ["spoor.example.com"]}])
    );
    let route = &named(&objects_with, "HTTPRoute", "gateway")["spec"];
    assert_eq!(route["parentRefs"], json!([{"name": "public"}]));
    assert_eq!(route["hostnames"], json!(["spoor.example.com"]));
    let backend = &route["rules"][0]["backendRefs"][0];
    assert_eq!(backend, &json!({"name": "gateway", "port": port["port"]}));
    for kind in ["Ingress", "HTTPRoute"] {
        assert!(of_kind(&objects(&[]), kind).is_empty(), "{kind}");
    }
}
