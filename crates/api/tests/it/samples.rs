//! The files in `k8s/samples`, which users apply first, must be valid.

use std::{collections::BTreeSet, fs, path::PathBuf};

use jiff::Timestamp;
use spoor_api::{TracingStack, read, stack::Jaeger};

pub fn samples() -> Vec<(String, String)> {
    let mut samples = of_policies();
    samples.extend(of_stacks());
    samples
}

/// All sample policies, including those with alternative values.
fn of_policies() -> Vec<(String, String)> {
    let mut samples = files("policies");
    samples.extend(files("policies/alternatives"));
    samples
}

fn of_stacks() -> Vec<(String, String)> {
    files("stacks")
}

fn files(folder: &str) -> Vec<(String, String)> {
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../k8s/samples");
    let mut files: Vec<(String, String)> = fs::read_dir(samples.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// `spoor apply -f k8s/samples/policies/` applies all of them together: each name must be unique,
/// and each policy must decide somewhere.
#[test]
fn sample_policies_are_compatible() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let manifests = files("policies")
        .into_iter()
        .flat_map(|(name, text)| read::policies(&text, &name).unwrap());
    let policies: Vec<spoor_policy::Policy> = manifests
        .map(|manifest| manifest.policy.validate(now).unwrap())
        .collect();
    let outcomes = spoor_policy::resolve(&policies, now).outcomes;
    assert_eq!(outcomes.len(), policies.len(), "duplicate policy");
    for (key, outcome) in outcomes {
        assert!(!outcome.effective.is_empty(), "{key} has no effect");
    }
}

#[test]
fn sample_stacks_are_described_and_valid() {
    let mut storage = BTreeSet::new();
    for (name, text) in of_stacks() {
        assert!(text.starts_with("# "), "{name} has no first comment");
        let stack: TracingStack =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let stack = stack
            .validate()
            .unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        storage.insert(match stack.jaeger {
            Jaeger::Existing(_) => "Existing",
            Jaeger::Managed(jaeger) => jaeger.storage.status_name(),
        });
    }
    let all = [
        "Badger",
        "Cassandra",
        "ClickHouse",
        "Elasticsearch",
        "Existing",
        "Memory",
        "OpenSearch",
    ];
    assert_eq!(storage, all.into());
}

#[test]
fn stack_in_the_lab_points_to_kubectl() {
    for (name, text) in of_stacks() {
        let [error] = read::policies(&text, &name)
            .unwrap_err()
            .try_into()
            .unwrap();
        let expected =
            "must be \"SamplingPolicy\"; apply a TracingStack to a cluster with `kubectl apply`";
        assert_eq!(
            (error.path.to_string().as_str(), error.problem.as_str()),
            ("kind", expected)
        );
    }
}

#[test]
fn samples_are_described_and_valid() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let samples = of_policies();
    assert!(samples.len() >= 10, "{} samples", samples.len());
    for (name, text) in &samples {
        assert!(text.starts_with("# "), "{name} has no first comment");
        let manifests = read::policies(text, name).unwrap();
        let policies: Vec<spoor_policy::Policy> = manifests
            .iter()
            .map(|manifest| manifest.policy.validate(now).unwrap())
            .collect();
        for (key, outcome) in spoor_policy::resolve(&policies, now).outcomes {
            assert!(
                outcome.warnings.is_empty(),
                "{name}: {key}: {:?}",
                outcome.warnings
            );
            assert!(!outcome.effective.is_empty(), "{name}: {key} has no effect");
        }
    }
}

#[test]
fn alternatives_are_one_policy() {
    let rates: Vec<(String, String)> = of_policies()
        .into_iter()
        .filter(|(name, _)| name.ends_with("-percent"))
        .map(|(name, text)| {
            let [manifest] = read::policies(&text, &name).unwrap().try_into().unwrap();
            let probability = manifest.policy.spec.head.unwrap().probability.unwrap();
            (manifest.policy.metadata.name, probability)
        })
        .collect();
    let expected = ["1%", "0.1%", "100%"].map(|rate| ("service-a".to_owned(), rate.to_owned()));
    assert_eq!(rates, expected);
}
