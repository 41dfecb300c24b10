//! The configuration of the Collector with Spoor's sampler between two pipelines.

use std::{fs, process::Command};

use spoor_api::TracingStack;
use spoor_operator::stacks::{
    collector::{CollectorInput, pipeline_objects},
    objects::pod::PodDefaults,
};
use spoor_policy::TailTable;

use super::{managed, program};

#[test]
fn collector_accepts_both_pipelines() {
    let Some(program) = program("collector_accepts_both_pipelines") else {
        return;
    };
    let text = "{apiVersion: spoor.dev/v1alpha1, kind: TracingStack, metadata: {name: tracing, namespace: default}, spec: {collector: {exporters: {debug: {}}}}}";
    let stack: TracingStack = serde_yaml::from_str(text).unwrap();
    let stack = stack.validate().unwrap();
    let objects = pipeline_objects(&CollectorInput {
        stack: &stack,
        collector: managed(&stack),
        jaeger_otlp: "tracing-jaeger:4317",
        counts_endpoint: "http://spoor-policies:4318",
        tail: &TailTable::default(),
        pods: &PodDefaults::default(),
    });
    let mut objects = objects.iter();
    let config =
        objects.find_map(|manifest| manifest.object.data.pointer("/data/config.yaml")?.as_str());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, config.unwrap()).unwrap();
    let checked = Command::new(program)
        .arg("validate")
        .arg(format!("--config={}", file.display()))
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{problems}");
}
