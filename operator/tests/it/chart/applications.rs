//! The settings of the applications, and the rules for connections to them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    EVERYTHING, SERVICES, edges, list, named, names, of_kind, pod,
    render::{has_helm, notes, objects},
    variable, volume,
};

#[test]
fn only_callers_may_connect_to_a_service() {
    if !has_helm("chart::only_callers_may_connect_to_a_service") {
        return;
    }
    let objects = objects(&EVERYTHING);
    let databases: [(&str, Option<&[&str]>); 1] = [("redis", Some(&["tasks"]))];
    for (name, callers) in SERVICES.iter().chain(&databases) {
        let policy = named(&objects, "NetworkPolicy", name);
        let served = list(&policy["spec"]["ingress"])
            .iter()
            .find(|rule| rule["ports"][0]["port"] != "ops");
        let callers = callers.unwrap_or_default();
        // A rule without callers admits all clients, and is not one for a service without any.
        let is_open = served.is_some_and(|rule| list(&rule["from"]).is_empty());
        let is_edge = edges().any(|edge| edge == *name);
        assert_eq!(is_open, is_edge, "{name}");
        let from = served.into_iter().flat_map(|rule| list(&rule["from"]));
        let allowed: BTreeSet<&str> = from
            .map(|from| &from["podSelector"]["matchLabels"]["app.kubernetes.io/name"])
            .map(|name| name.as_str().unwrap())
            .collect();
        assert_eq!(allowed, callers.iter().copied().collect(), "{name}");
    }
}

#[test]
fn callers_have_addresses_of_their_services() {
    if !has_helm("chart::callers_have_addresses_of_their_services") {
        return;
    }
    let objects = objects(&[]);
    for (callee, callers) in SERVICES {
        let service = named(&objects, "Service", callee);
        let address = format!("http://{callee}:{}", service["spec"]["ports"][0]["port"]);
        for caller in callers.unwrap_or_default() {
            let deployment = named(&objects, "Deployment", caller);
            let variables = &pod(deployment).unwrap()["containers"][0]["env"];
            let has_address = list(variables)
                .iter()
                .filter_map(|variable| variable["value"].as_str())
                .any(|value| value.contains(&address));
            assert!(has_address, "{caller} has no variable with {address}");
        }
    }
}

#[test]
fn only_edges_have_trusted_peers() {
    if !has_helm("chart::only_edges_have_trusted_peers") {
        return;
    }
    let objects = objects(&["applications.trustedPeers=10.0.0.0/8"]);
    for (name, callers) in SERVICES {
        let deployment = named(&objects, "Deployment", name);
        let variables = names(&pod(deployment).unwrap()["containers"][0]["env"]);
        let has_variable = variables.contains("SPOOR_TRUSTED_PEERS");
        assert_eq!(has_variable, callers.is_none(), "{name}");
    }
}

#[test]
fn each_marketplace_has_its_own_settings() {
    if !has_helm("chart::each_marketplace_has_its_own_settings") {
        return;
    }
    let objects = objects(&["applications.wishlist.marketplaces.corner.rateLimit=7"]);
    let mut settings = BTreeSet::new();
    for name in ["attic", "bazaar", "corner"] {
        let deployment = named(&objects, "Deployment", &format!("marketplace-{name}"));
        let container = &pod(deployment).unwrap()["containers"][0];
        assert_eq!(variable(container, "SPOOR_MARKETPLACE_NAME"), name);
        settings.insert(
            ["LATENCY", "ERROR_RATE", "RATE_LIMIT"]
                .map(|name| variable(container, &format!("SPOOR_MARKETPLACE_{name}"))),
        );
    }
    assert_eq!(settings.len(), 3, "{settings:?}");
    assert!(settings.iter().any(|it| it[2] == "7"), "{settings:?}");
}

#[test]
fn redis_password_is_in_no_object() {
    if !has_helm("chart::redis_password_is_in_no_object") {
        return;
    }
    let objects = objects(&EVERYTHING);
    let reference = json!({"secretKeyRef": {"name": "redis", "key": "password"}});
    for name in ["tasks", "redis"] {
        let container = &pod(named(&objects, "Deployment", name)).unwrap()["containers"][0];
        assert_eq!(source(container, "REDIS_PASSWORD"), &reference);
    }
    let redis = pod(named(&objects, "Deployment", "redis")).unwrap();
    let arguments = redis["containers"][0]["args"].to_string();
    assert!(
        arguments.contains(r#""--requirepass","$(REDIS_PASSWORD)""#),
        "{arguments}"
    );
    assert!(!arguments.contains("protected-mode"), "{arguments}");
}

#[test]
fn existing_redis_replaces_the_charts() {
    if !has_helm("chart::existing_redis_replaces_the_charts") {
        return;
    }
    let objects = objects(&["applications.tasks.redis.url.secretName=elsewhere"]);
    let tasks = pod(named(&objects, "Deployment", "tasks")).unwrap();
    assert_eq!(
        source(&tasks["containers"][0], "SPOOR_REDIS_URL"),
        &json!({"secretKeyRef": {"name": "elsewhere", "key": "url"}})
    );
    for kind in ["Deployment", "Service", "NetworkPolicy"] {
        let names = of_kind(&objects, kind);
        let is_redis = |object: &&Value| object["metadata"]["name"] == "redis";
        assert!(!names.iter().any(is_redis), "{kind}");
    }
}

#[test]
fn custom_model_is_mounted() {
    if !has_helm("chart::custom_model_is_mounted") {
        return;
    }
    let own = "applications.vision.mobilenetv2.model";
    let values = [
        EVERYTHING[5].to_owned(),
        EVERYTHING[6].to_owned(),
        format!("{own}.labelsFile=labels.txt"),
        format!("{own}.size=224"),
    ];
    let objects = objects(&values.each_ref().map(String::as_str));
    let with = pod(named(&objects, "Deployment", "mobilenetv2")).unwrap();
    let container = &with["containers"][0];
    for (name, value) in [
        ("SPOOR_MODEL_FILE", "/models/imagenet.onnx"),
        ("SPOOR_MODEL_LABELS_FILE", "/models/labels.txt"),
        ("SPOOR_MODEL_SIZE", "224"),
    ] {
        assert_eq!(variable(container, name), value);
    }
    assert_eq!(
        volume(with, "mounted")["persistentVolumeClaim"],
        json!({"claimName": "models"})
    );
    let mount = list(&container["volumeMounts"])
        .iter()
        .find(|mount| mount["name"] == "mounted")
        .unwrap();
    assert_eq!(
        mount,
        &json!({"name": "mounted", "mountPath": "/models", "readOnly": true})
    );
    let without = pod(named(&objects, "Deployment", "efficientnetb0")).unwrap();
    assert!(!names(&without["volumes"]).contains("mounted"));
    assert!(!names(&without["containers"][0]["env"]).contains("SPOOR_MODEL_FILE"));
}

#[test]
fn scenario_runs_in_its_own_job() {
    if !has_helm("chart::scenario_runs_in_its_own_job") {
        return;
    }
    let values = [
        "load.scenario=spike",
        "load.arguments={--duration,1m}",
        "crds.upgrade=false",
    ];
    let objects = objects(&values);
    let job = named(&objects, "Job", "load-spike-1");
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let job = pod(job).unwrap();
    assert_eq!(job["restartPolicy"], "Never");
    let arguments = list(&job["containers"][0]["args"]);
    assert_eq!(arguments[..2], ["load", "spike"]);
    assert_eq!(arguments[arguments.len() - 2..], ["--duration", "1m"]);
}

#[test]
fn every_edge_has_load_and_a_test() {
    if !has_helm("chart::every_edge_has_load_and_a_test") {
        return;
    }
    let objects = objects(&["load.scenario=mesh"]);
    let arguments = |pod: &Value| pod["containers"][0]["args"].to_string();
    let sent = arguments(pod(named(&objects, "Job", "load-mesh-1")).unwrap());
    let tests = of_kind(&objects, "Pod").into_iter().filter_map(pod);
    let tests: String = tests.map(arguments).collect();
    for edge in edges() {
        let port = &named(&objects, "Service", edge)["spec"]["ports"][0]["port"];
        let url = format!("http://{edge}:{port}");
        assert!(sent.contains(&format!("{edge}={url}")), "{edge}: {sent}");
        // `spoor probe` sends GET, and an image is needed to call the models.
        let is_tested = tests.contains(&format!("--url={url}/"));
        assert_eq!(is_tested, edge != "preprocessing", "{edge}: {tests}");
    }
}

#[test]
fn external_database_replaces_the_folder() {
    if !has_helm("chart::external_database_replaces_the_folder") {
        return;
    }
    let inside = objects(&[]);
    let inside = pod(named(&inside, "Deployment", "wishlist")).unwrap();
    assert!(volume(inside, "data")["emptyDir"].is_object());
    let container = &inside["containers"][0];
    assert_eq!(
        variable(container, "SPOOR_DATABASE_URL"),
        "sqlite:/data/wishes.db"
    );

    let outside = objects(&EVERYTHING);
    let outside = pod(named(&outside, "Deployment", "wishlist")).unwrap();
    assert!(!names(&outside["volumes"]).contains("data"));
    let url = list(&outside["containers"][0]["env"])
        .iter()
        .find(|variable| variable["name"] == "SPOOR_DATABASE_URL")
        .unwrap();
    assert_eq!(
        url["valueFrom"]["secretKeyRef"],
        json!({"name": "database", "key": "url"})
    );
}

#[test]
fn base_path_reaches_all_users_of_jaeger() {
    if !has_helm("chart::base_path_reaches_all_users_of_jaeger") {
        return;
    }
    let values = ["stack.spec.jaeger.basePath=/traces"];
    let objects = objects(&values);
    let gateway = pod(named(&objects, "Deployment", "gateway")).unwrap();
    let gateway = &gateway["containers"][0];
    assert_eq!(
        variable(gateway, "SPOOR_JAEGER_URL"),
        "http://tracing-query:16686/traces"
    );
    let test = named(&objects, "Pod", "spoor-test-request");
    let arguments = test["spec"]["containers"][0]["args"].to_string();
    assert!(
        arguments.contains("http://tracing-query:16686/traces\""),
        "{arguments}"
    );
    assert!(notes(&values).contains("http://localhost:16686/traces/search"));
}

/// The source of a variable's value.
fn source<'c>(container: &'c Value, name: &str) -> &'c Value {
    let found = list(&container["env"])
        .iter()
        .find(|variable| variable["name"] == name);
    &found.unwrap_or_else(|| panic!("no variable {name}"))["valueFrom"]
}
