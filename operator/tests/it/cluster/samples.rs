//! Every file of `k8s/samples`, on a real cluster.

use std::{fs, time::Duration};

use super::{
    command::{in_repository, kubectl, kubectl_given},
    lab::Lab,
    objects, policies, stack,
};

/// The Secret that a sample requires.
const VENDOR: &str = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor"},
    "stringData": {"VENDOR_TOKEN": "none"}}"#;

/// Samples that other tests cover, because each takes a minute to apply and to undo.
const COVERED_ELSEWHERE: [&str; 2] = ["direct.yaml", "two-collectors.yaml"];

#[tokio::test(flavor = "multi_thread")]
async fn each_sample_of_a_policy_is_programmed() {
    let Some(lab) = Lab::installed("samples of policies").await else {
        return;
    };
    for (file, documents) in samples("policies") {
        policies::apply_sample(&lab, &file).await;
        for name in &documents {
            policies::wait_for(&lab, name, "Accepted", "True").await;
            policies::wait_for(&lab, name, "Programmed", "True").await;
        }
        lab.log(format_args!(
            "{file}: {documents:?} accepted and programmed"
        ));
        let path = in_repository(&format!("k8s/samples/policies/{file}"));
        kubectl(&["delete", "--namespace", lab.namespace, "-f", &path]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sample_of_a_stack_is_available() {
    let Some(lab) = Lab::installed("samples of stacks").await else {
        return;
    };
    kubectl_given(VENDOR, &["apply", "--namespace", lab.namespace, "-f", "-"]).await;
    for (file, documents) in samples("stacks") {
        let path = in_repository(&format!("k8s/samples/stacks/{file}"));
        let here = ["--namespace", lab.namespace, "-f", &path];
        let only_valid = if !runs_here(&fs::read_to_string(&path).unwrap()) {
            Some("the cluster lacks what it needs")
        } else if COVERED_ELSEWHERE.contains(&file.as_str()) {
            Some("another test applies it")
        } else if file == "several-samplers.yaml" {
            Some("its former rings end after ten minutes")
        } else {
            None
        };
        if let Some(reason) = only_valid {
            kubectl(&[&["apply", "--dry-run=server"], &here[..]].concat()).await;
            lab.log(format_args!("{file}: valid; {reason}"));
            continue;
        }
        kubectl(&[&["apply"], &here[..]].concat()).await;
        for name in &documents {
            wait_until_available(&lab, name).await;
        }
        lab.log(format_args!("{file}: {documents:?} available"));
        stack::reset(&lab).await;
        stack::wait_until_settled(&lab).await;
    }
    kubectl(&["delete", "secret", "vendor", "--namespace", lab.namespace]).await;
}

async fn wait_until_available(lab: &Lab, name: &str) {
    crate::apiserver::eventually(name, Duration::from_secs(120), || async {
        let stack = objects::read(lab, "TracingStack", name).await;
        let stack = stack.ok_or("no such stack")?;
        if objects::has(&stack, "Available", "True") && objects::has(&stack, "Progressing", "False")
        {
            Ok(())
        } else {
            Err(stack["status"].to_string())
        }
    })
    .await;
}

/// Returns false for samples with storage or a Collector that the test cluster lacks.
fn runs_here(sample: &str) -> bool {
    let elsewhere = [
        "opensearch:",
        "elasticsearch:",
        "cassandra:",
        "clickhouse:",
        "existing:",
    ];
    let content = sample
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    !content
        .into_iter()
        .any(|line| elsewhere.iter().any(|word| line.starts_with(word)))
}

/// The files of a folder of samples, and the names of the resources in each.
fn samples(folder: &str) -> Vec<(String, Vec<String>)> {
    let folder = in_repository(&format!("k8s/samples/{folder}"));
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut samples: Vec<_> = files
        .filter(|entry| entry.path().is_file())
        .map(|entry| {
            let names = names(&fs::read_to_string(entry.path()).unwrap());
            (entry.file_name().into_string().unwrap(), names)
        })
        .collect();
    samples.sort();
    assert!(!samples.is_empty(), "no samples");
    samples
}

fn names(sample: &str) -> Vec<String> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(sample)
        .map(|document| serde_json::Value::deserialize(document).unwrap())
        .map(|resource| resource["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
