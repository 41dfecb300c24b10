//! The generated configuration in a real Collector: the tiers as processes of this host.

mod configuration;
mod decisions;
mod existing;
mod exports;
mod fixtures;
mod load;
mod pipelines;
mod program;
mod proxy;
mod reported;
mod rolling;
pub mod sink;
mod tiers;

use std::path::PathBuf;

use jiff::Timestamp;
use spoor_api::{
    SamplingPolicy, TracingStack,
    stack::{Collector, ManagedCollector, Stack},
};
use spoor_operator::stacks::{
    collector::{CollectorInput, CollectorObjects, build},
    objects::pod::PodDefaults,
};
use spoor_policy::{TailTable, resolve};
use spoor_testing::programs::skip;

/// The Collector's program, from `SPOOR_COLLECTOR`. None, with a message, if there is
/// none; with `SPOOR_REQUIRE_ALL=1` that is a failure.
fn program(test: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SPOOR_COLLECTOR") {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "SPOOR_COLLECTOR: no file {}",
            path.display()
        );
        return Some(path);
    }
    skip(test, "SPOOR_COLLECTOR names no Collector");
    None
}

/// A stack with this `collector`, which decides itself.
fn stack(collector: &str) -> Stack {
    let text = format!(
        "{{apiVersion: spoor.dev/v1alpha1, kind: TracingStack, metadata: {{name: tracing, namespace: default}}, spec: {{sampler: {{engine: OpenTelemetry}}, collector: {collector}}}}}"
    );
    let stack: TracingStack = serde_yaml::from_str(&text).unwrap();
    stack.validate().unwrap()
}

/// The table of several policies, each given as its `spec`.
fn table(specs: &[&str]) -> TailTable {
    let policies = specs.iter().enumerate().map(|(number, spec)| {
        let text = format!(
            "{{apiVersion: spoor.dev/v1alpha1, kind: SamplingPolicy, metadata: {{name: policy-{number}, namespace: default}}, spec: {spec}}}"
        );
        let policy: SamplingPolicy = serde_yaml::from_str(&text).unwrap();
        policy.validate(Timestamp::UNIX_EPOCH).unwrap()
    });
    let policies: Vec<_> = policies.collect();
    resolve(&policies, Timestamp::UNIX_EPOCH).tail
}

/// The objects that the operator builds from both.
fn objects(stack: &Stack, tail: &TailTable) -> CollectorObjects {
    build(&CollectorInput {
        stack,
        collector: managed(stack),
        jaeger_otlp: "tracing-jaeger:4317",
        counts_endpoint: "http://spoor-policies:4318",
        tail,
        pods: &PodDefaults::default(),
    })
}

fn managed(stack: &Stack) -> &ManagedCollector {
    match &stack.collector {
        Collector::Managed(collector) => collector,
        Collector::Existing(_) => panic!("the tests run their own"),
    }
}
