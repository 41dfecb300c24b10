//! The Tiltfile, run in a Starlark interpreter: what it declares.

mod interpreter;
mod signatures;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::Value as Json;

use crate::{
    lab::{command, run},
    peer,
};
use interpreter::{Call, Declared, Surroundings, documents, files};

const PROGRAMS: [&str; 2] = ["spoor", "spoor-operator"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The Tiltfile takes the chart's objects from Helm.
fn have_helm(test: &str) -> bool {
    std::env::var_os("HELM").is_some() || peer::have(test, &["helm"])
}

/// What the Tiltfile declares on Linux; `None`, said aloud, without Helm.
fn declared(test: &str) -> Option<Declared> {
    let here = Surroundings {
        libc: "glibc 2.36",
        ..Surroundings::default()
    };
    have_helm(test).then(|| Declared::by(here).unwrap())
}

#[test]
fn is_for_kind_only() {
    let Some(declared) = declared("tiltfile::is_for_kind_only") else {
        return;
    };
    let contexts = declared.calls("allow_k8s_contexts");
    assert_eq!(contexts.len(), 1);
    let cluster = std::fs::read_to_string(root().join("k8s/kind.yaml")).unwrap();
    let cluster = &documents(&cluster).unwrap()[0];
    let context = format!("kind-{}", cluster["name"].as_str().unwrap());
    assert_eq!(contexts[0].text("contexts"), context);
}

#[test]
fn builds_the_workspace_once_and_puts_only_the_program_into_each_image() {
    let Some(declared) = declared("tiltfile::builds_the_workspace_once") else {
        return;
    };
    let cargo: Vec<&Call> = resources_that(&declared, "cargo build");
    assert_eq!(cargo.len(), 1);
    for program in PROGRAMS {
        assert!(cargo[0].text("cmd").contains(&format!("-p {program}")));
    }
    for path in cargo[0].texts("deps") {
        assert!(root().join(path).exists(), "{path}");
    }
    let images = declared.calls("docker_build");
    let names: Vec<&str> = images.iter().map(|image| image.text("ref")).collect();
    assert_eq!(names, PROGRAMS);
    for image in images {
        let program = image.text("ref");
        assert_eq!(image.text("target"), "prebuilt");
        assert_eq!(image.texts("only"), [program]);
        assert_eq!(image.given["build_args"]["PROGRAM"], program);
        let dockerfile = std::fs::read_to_string(root().join(image.text("dockerfile"))).unwrap();
        assert!(dockerfile.contains(" AS prebuilt"), "{dockerfile}");
    }
}

#[rstest::rstest]
#[case::asked_for("glibc 2.36", true)]
#[case::a_newer_glibc("glibc 2.39", false)]
#[case::no_glibc("", false)]
fn builds_inside_where_the_program_would_not_run(#[case] libc: &'static str, #[case] asked: bool) {
    if !have_helm("tiltfile::builds_inside") {
        return;
    }
    let settings = BTreeMap::from([("inside".to_owned(), asked)]);
    let declared = Declared::by(Surroundings { settings, libc }).unwrap();
    assert!(resources_that(&declared, "cargo build").is_empty());
    let images = declared.calls("docker_build");
    assert_eq!(images.len(), PROGRAMS.len());
    for image in images {
        assert_eq!((image.text("context"), image.text("target")), (".", ""));
        for path in image.texts("only") {
            assert!(root().join(path).exists(), "{path}");
        }
    }
}

#[test]
fn every_object_of_the_chart_is_in_one_resource() {
    let Some(declared) = declared("tiltfile::every_object") else {
        return;
    };
    let mut claimed: Vec<String> = Vec::new();
    for resource in declared.calls("k8s_resource") {
        let objects = resource.texts("objects");
        claimed.extend(objects.into_iter().map(str::to_owned));
        let workload = resource.text("workload");
        if !workload.is_empty() {
            claimed.push(format!(
                "{workload}:{}",
                kind_of_workload(&declared, workload)
            ));
        }
    }
    let known: BTreeSet<String> = claimed.iter().cloned().collect();
    assert_eq!(known.len(), claimed.len(), "twice: {claimed:?}");
    // Tilt puts a Service to the workload that it selects.
    let declared: BTreeSet<String> = objects(&declared)
        .iter()
        .filter(|object| object["kind"] != "Service")
        .map(|object| format!("{}:{}", name(object), kind(object).to_lowercase()))
        .collect();
    assert_eq!(known, declared);
}

#[test]
fn hooks_are_left_to_helm() {
    let Some(declared) = declared("tiltfile::hooks") else {
        return;
    };
    for object in objects(&declared) {
        let annotations = &object["metadata"]["annotations"];
        assert!(annotations["helm.sh/hook"].is_null(), "{object}");
        assert_ne!(object["kind"], "Job", "{object}");
    }
}

#[test]
fn every_resource_has_a_label_and_waits_for_resources_that_start_by_themselves() {
    let Some(declared) = declared("tiltfile::every_resource") else {
        return;
    };
    let resources = resources(&declared);
    for (name, resource) in &resources {
        assert_eq!(resource.texts("labels").len(), 1, "{name}");
        for needed in resource.texts("resource_deps") {
            let needed = resources
                .get(needed)
                .unwrap_or_else(|| panic!("{name} waits for {needed}"));
            assert!(is_automatic(needed), "{name} waits for {needed:?}");
        }
        // `tilt ci` ends: nothing that starts by itself goes on for ever outside of the cluster.
        assert!(!resource.given.contains_key("serve_cmd"), "{name}");
    }
    let mut started: BTreeSet<&str> = BTreeSet::new();
    while started.len() < resources.len() {
        let ready: Vec<&str> = resources
            .iter()
            .filter(|(name, resource)| {
                let needed = resource.texts("resource_deps");
                !started.contains(name.as_str()) && needed.iter().all(|it| started.contains(it))
            })
            .map(|(name, _)| name.as_str())
            .collect();
        assert!(!ready.is_empty(), "a circle; started: {started:?}");
        started.extend(ready);
    }
}

#[test]
fn ports_are_forwarded_to_containers_that_have_them() {
    let Some(declared) = declared("tiltfile::ports") else {
        return;
    };
    let mut forwarded = BTreeMap::new();
    for (name, resource) in resources(&declared) {
        let forwards = resource.given.get("port_forwards").and_then(Json::as_array);
        for forward in forwards.into_iter().flatten() {
            let port = forward["container_port"].as_u64().unwrap();
            let taken = forwarded.insert(forward["local_port"].as_u64().unwrap(), name.clone());
            assert_eq!(taken, None, "{forward}");
            if name == "jaeger" {
                // The operator makes it, and beside it pods that have no such port.
                assert!(resource.is("discovery_strategy", "selectors-only"));
                let selected = &resource.given["extra_pod_selectors"][0];
                assert_eq!(selected["app.kubernetes.io/name"], "jaeger");
            } else {
                assert!(container_ports(&declared, &name).contains(&port), "{name}");
            }
        }
    }
    let expected = [
        (8080, "service-a"),
        (8081, "gateway"),
        (8082, "bands"),
        (8083, "tasks"),
        (8084, "preprocessing"),
        (9090, "prometheus"),
        (16686, "jaeger"),
    ];
    let expected = expected.map(|(port, name)| (port, name.to_owned()));
    assert_eq!(forwarded, BTreeMap::from(expected));
}

#[test]
fn every_service_has_a_link_to_its_traces() {
    let Some(declared) = declared("tiltfile::every_service") else {
        return;
    };
    let objects = objects(&declared);
    let services: Vec<&str> = objects
        .iter()
        .filter_map(|object| {
            object["spec"]["template"]["metadata"]["labels"]["spoor.dev/service"].as_str()
        })
        .collect();
    assert_eq!(services.len(), 15, "{services:?}");
    for service in services {
        let link = &resources(&declared)[service].given["links"][0];
        let url = format!("http://localhost:16686/jaeger/search?service={service}");
        assert_eq!(link["url"], url);
    }
}

#[test]
fn every_sample_can_be_applied_by_hand() {
    let Some(declared) = declared("tiltfile::samples") else {
        return;
    };
    let resources = resources(&declared);
    let samples = files(&root().join("k8s/samples"), true).unwrap();
    assert!(samples.len() > 20, "{samples:?}");
    for sample in samples {
        let path = std::path::Path::new(&sample);
        let name = format!("sample-{}", path.file_stem().unwrap().to_string_lossy());
        let resource = &resources[&name];
        assert_eq!(resource.texts("labels"), ["samples"]);
        assert!(!is_automatic(resource), "{name}");
        assert!(resource.is("trigger_mode", "manual"), "{name}");
        assert_eq!(
            resource.texts("cmd").last(),
            Some(&path.to_str().unwrap()),
            "{name}"
        );
    }
}

#[test]
fn each_button_starts_its_command_at_a_resource() {
    let Some(declared) = declared("tiltfile::buttons") else {
        return;
    };
    let commands: BTreeMap<&str, &Call> = declared
        .calls("v1alpha1.cmd")
        .into_iter()
        .map(|command| (command.text("name"), command))
        .collect();
    let mut texts = Vec::new();
    for button in declared.calls("v1alpha1.ui_button") {
        let command = commands[button.text("name")];
        let started_by = &command.given["start_on"]["ui_buttons"];
        assert_eq!(*started_by, serde_json::json!([button.text("name")]));
        let place = &button.given["location"];
        assert_eq!(place["component_type"], "Resource");
        let resource = place["component_id"].as_str().unwrap();
        assert!(resources(&declared).contains_key(resource), "{resource}");
        texts.push(button.text("text"));
    }
    let expected = [
        "sampling 1 %",
        "sampling 100 %",
        "send load",
        "send a ramp",
        "send a spike",
        "send through the mesh",
        "send pictures",
        "break B",
        "mend B",
    ];
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_name_what_there_is() {
    let Some(declared) = declared("tiltfile::commands") else {
        return;
    };
    let of_buttons = declared.calls("v1alpha1.cmd");
    let commands = of_buttons.iter().map(|call| call.texts("args"));
    let of_resources = declared.calls("local_resource");
    let of_resources = of_resources
        .iter()
        .filter(|call| call.given["cmd"].is_array());
    let commands = commands.chain(of_resources.map(|call| call.texts("cmd")));
    let mut checked = 0;
    for command in commands {
        assert_eq!(command[..3], ["kubectl", "--namespace", "spoor"]);
        check_kubectl(&declared, &command[3..]);
        if let Some(at) = command.iter().position(|word| *word == "--") {
            assert_eq!(command[at + 1], "/usr/local/bin/spoor");
            check_spoor(&command[at + 2..]).await;
        }
        checked += 1;
    }
    assert!(checked > 10, "{checked}");
}

fn check_kubectl(declared: &Declared, words: &[&str]) {
    for pair in words.windows(2) {
        if pair[0] == "--filename" {
            assert!(root().join(pair[1]).is_file(), "{words:?}");
        }
    }
    for word in words {
        if let Some(name) = word.strip_prefix("deployment/") {
            workload(declared, name);
        }
        if let Some(name) = word.strip_prefix("tracingstack/") {
            let stacks = objects(declared);
            let stack = stacks.iter().find(|object| kind(object) == "TracingStack");
            assert_eq!(stack.map(self::name), Some(name));
        }
    }
    if let ["set", "env", deployment, variable] = words {
        let deployment = workload(declared, deployment.strip_prefix("deployment/").unwrap());
        let (variable, _) = variable.split_once('=').unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let known = container["env"].as_array().unwrap();
        assert!(known.iter().any(|it| it["name"] == variable), "{variable}");
    }
}

/// The command understands it: its help comes only after options that exist.
async fn check_spoor(arguments: &[&str]) {
    let ended = run(command().args(arguments).arg("--help"), "").await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
}

fn resources_that<'d>(declared: &'d Declared, run: &str) -> Vec<&'d Call> {
    let local = declared.calls("local_resource");
    let matches = |call: &&Call| call.text("cmd").contains(run);
    local.into_iter().filter(matches).collect()
}

/// By the names that Tilt gives them.
fn resources(declared: &Declared) -> BTreeMap<String, &Call> {
    let local = declared.calls("local_resource");
    let local = local.into_iter().map(|call| (call.text("name"), call));
    let cluster = declared.calls("k8s_resource");
    let cluster = cluster.into_iter().map(|call| match call.text("new_name") {
        "" => (call.text("workload"), call),
        name => (name, call),
    });
    local
        .chain(cluster)
        .map(|(name, call)| (name.to_owned(), call))
        .collect()
}

fn is_automatic(resource: &Call) -> bool {
    !resource.is("auto_init", false)
}

/// Deployments, and what is declared to have pods, are resources by themselves.
fn kind_of_workload(declared: &Declared, name: &str) -> String {
    let made_known = declared.calls("k8s_kind");
    let made_known = made_known.iter().map(|call| call.text("kind"));
    let kinds: Vec<&str> = made_known.chain(["Deployment"]).collect();
    let objects = objects(declared);
    let found = objects
        .iter()
        .find(|object| kinds.contains(&kind(object)) && self::name(object) == name);
    let found = found.unwrap_or_else(|| panic!("no workload {name}"));
    kind(found).to_lowercase()
}

/// The objects that are applied.
fn objects(declared: &Declared) -> Vec<Json> {
    let applied = declared.calls("k8s_yaml");
    let applied = applied.into_iter().map(|call| documents(call.text("yaml")));
    applied.flat_map(Result::unwrap).collect()
}

fn workload(declared: &Declared, name: &str) -> Json {
    let found = objects(declared)
        .into_iter()
        .find(|object| kind(object) == "Deployment" && self::name(object) == name);
    found.unwrap_or_else(|| panic!("no Deployment {name}"))
}

fn container_ports(declared: &Declared, name: &str) -> Vec<u64> {
    let workload = workload(declared, name);
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let ports = ports.iter().map(|port| port["containerPort"].as_u64());
    ports.map(Option::unwrap).collect()
}

fn name(object: &Json) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn kind(object: &Json) -> &str {
    object["kind"].as_str().unwrap()
}
