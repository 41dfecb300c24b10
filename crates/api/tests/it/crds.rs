//! The custom resource definitions, and their files.

use std::{collections::BTreeSet, fs, path::PathBuf};

use regex::Regex;
use serde_json::Value;
use spoor_api::{crd, to_yaml};

const COMMAND: &str = "cargo run -p spoor-api --example crds";

fn schema(definition: &Value) -> &Value {
    definition
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap()
}

/// Every part of a schema with its path.
fn parts<'a>(schema: &'a Value, at: &str, parts: &mut Vec<(String, &'a Value)>) {
    parts.push((at.to_owned(), schema));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        self::parts(property, &format!("{at}.{name}"), parts);
    }
    if let Some(items) = schema.get("items") {
        self::parts(items, &format!("{at}[]"), parts);
    }
    if let Some(values) = schema.get("additionalProperties") {
        self::parts(values, &format!("{at}{{}}"), parts);
    }
}

fn all_parts() -> Vec<(String, Value)> {
    let mut all = vec![];
    for definition in crd::all() {
        let mut of_definition = vec![];
        parts(
            schema(&definition),
            definition["spec"]["names"]["kind"].as_str().unwrap(),
            &mut of_definition,
        );
        all.extend(
            of_definition
                .into_iter()
                .map(|(at, part)| (at, part.clone())),
        );
    }
    all
}

/// True for fields that the API server itself validates.
fn is_kubernetes_own(at: &str) -> bool {
    let path = at.split_once('.').map(|(_, path)| path);
    let own = ["apiVersion", "kind", "metadata", "metadata.name"];
    path.is_some_and(|path| own.contains(&path))
}

#[test]
fn files_match_the_types() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    for folder in ["k8s/crds", "helm/spoor/crds"] {
        let mut expected = BTreeSet::new();
        for definition in crd::all() {
            let file = format!("{}.yaml", definition["metadata"]["name"].as_str().unwrap());
            let text = fs::read_to_string(root.join(folder).join(&file)).unwrap_or_default();
            let generated = to_yaml(&definition).unwrap();
            assert!(
                text.ends_with(&generated),
                "{folder}/{file} is out of date; run {COMMAND}"
            );
            assert!(text.contains(COMMAND));
            expected.insert(file);
        }
        let files: BTreeSet<String> = fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(files, expected, "{folder}");
    }
}

/// Without limits, rules are too expensive for the API server, and objects too large for etcd.
#[test]
fn everything_is_bounded() {
    for (at, part) in all_parts() {
        let is_open = part["x-kubernetes-preserve-unknown-fields"] == true;
        let has_values = part.get("additionalProperties").is_some();
        let bound = match part["type"].as_str() {
            Some("string") if part.get("enum").is_none() && !is_kubernetes_own(&at) => "maxLength",
            Some("array") => "maxItems",
            Some("object") if has_values && !is_open => "maxProperties",
            _ => continue,
        };
        assert!(part.get(bound).is_some(), "{at} has no {bound}");
    }
}

#[test]
fn every_field_is_described_and_typed() {
    for (at, part) in all_parts() {
        let element = at.ends_with("[]") || at.ends_with("{}");
        if !is_kubernetes_own(&at) && !element && at.contains('.') {
            let description = part["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5, "{at} has no description");
            assert!(!description.contains("[`"), "{at}: {description}");
        }
        let is_typed = part["type"].is_string() || part["x-kubernetes-int-or-string"] == true;
        assert!(is_typed, "{at} has no type");
        for word in ["$ref", "anyOf", "oneOf", "allOf", "examples", "title"] {
            assert!(part.get(word).is_none(), "{at}: {word}");
        }
        assert_ne!(
            part.get("additionalProperties"),
            Some(&Value::Bool(false)),
            "{at}"
        );
    }
}

/// Lists that server-side apply merges, by the key of their entries.
#[test]
fn lists_with_keys_are_maps() {
    let keyed: Vec<(String, String)> = all_parts()
        .into_iter()
        .filter(|(_, part)| part["x-kubernetes-list-type"] == "map")
        .map(|(at, part)| {
            (
                at,
                part["x-kubernetes-list-map-keys"][0]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            )
        })
        .collect();
    let expected = [
        ("SamplingPolicy.spec.tail.keep", "name"),
        ("SamplingPolicy.spec.targets", "service"),
        ("SamplingPolicy.status.conditions", "type"),
        ("TracingStack.spec.collector.pod.env", "name"),
        ("TracingStack.spec.jaeger.pod.env", "name"),
        ("TracingStack.spec.sampler.pod.env", "name"),
        ("TracingStack.status.conditions", "type"),
    ];
    assert_eq!(
        keyed,
        expected.map(|(at, key)| (at.to_owned(), key.to_owned()))
    );
}

/// Validation and the API server use different regular expression engines.
#[test]
fn patterns_agree_with_validation() {
    let pattern = Regex::new("matches\\(r'([^']*)'\\)").unwrap();
    let mut seen = 0;
    for (at, part) in all_parts() {
        for rule in part["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = rule["rule"].as_str().unwrap();
            for found in pattern.captures_iter(text) {
                Regex::new(&found[1]).unwrap_or_else(|error| panic!("{at}: {error}"));
                // `\d`, `\w` and `\s` are ASCII to RE2 and Unicode to Rust.
                let has_classes = ["\\d", "\\w", "\\s", "\\b"]
                    .iter()
                    .any(|class| found[1].contains(class));
                assert!(!has_classes, "{at}: {text}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn definitions_have_names_and_columns() {
    for (definition, short, columns) in [
        (
            crd::sampling_policy(),
            "spol",
            "Strategy Clients Observed Converged Age",
        ),
        (
            crd::tracing_stack(),
            "ts",
            "Route Storage Available Progressing Age",
        ),
    ] {
        let names = &definition["spec"]["names"];
        assert_eq!(names["shortNames"], serde_json::json!([short]));
        assert_eq!(names["categories"], serde_json::json!(["spoor", "tracing"]));
        let version = &definition["spec"]["versions"][0];
        assert_eq!(version["subresources"], serde_json::json!({"status": {}}));
        let shown = version["additionalPrinterColumns"]
            .as_array()
            .unwrap()
            .iter();
        let narrow: Vec<&str> = shown
            .filter(|column| column["priority"] != 1)
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(narrow.join(" "), columns);
    }
}
