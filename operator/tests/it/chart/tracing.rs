//! The operator's own traces, as the chart configures them.

use serde_json::Value;

use super::{
    list, named, pod,
    render::{has_helm, objects, refusal},
    variable,
};

const ENABLED: &str = "operator.tracing.enabled=true";

fn container(objects: &[Value], role: &str) -> Value {
    let deployment = named(objects, "Deployment", &format!("spoor-{role}"));
    pod(deployment).unwrap()["containers"][0].clone()
}

#[rstest::rstest]
#[case::own_stack(&[], "http://tracing-otlp:4317", "1")]
#[case::other_stack(
    &["stack.enabled=false", "applications.stack=shared", "operator.tracing.probability=0"],
    "http://shared-otlp:4317",
    "0"
)]
#[case::collector(
    &["stack.enabled=false", "operator.tracing.endpoint=https://collector.observability:4317",
      "operator.tracing.probability=0.25"],
    "https://collector.observability:4317",
    "0.25"
)]
fn both_roles_export_their_traces(
    #[case] values: &[&str],
    #[case] endpoint: &str,
    #[case] probability: &str,
) {
    if !has_helm("chart::both_roles_export_their_traces") {
        return;
    }
    let objects = objects(&[values, &[ENABLED]].concat());
    for role in ["stacks", "policies"] {
        let container = container(&objects, role);
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", probability),
        ] {
            assert_eq!(variable(&container, name), value, "{role}");
        }
    }
}

#[rstest::rstest]
#[case::default(&[])]
#[case::disabled(&["operator.tracing.endpoint=http://collector:4317"])]
#[case::null(&["operator.tracing.enabled=null"])]
fn operator_is_not_traced_by_default(#[case] values: &[&str]) {
    if !has_helm("chart::operator_is_not_traced_by_default") {
        return;
    }
    let objects = objects(values);
    for role in ["stacks", "policies"] {
        let container = container(&objects, role);
        let mut variables = list(&container["env"]).iter();
        let is_standard = |variable: &Value| {
            variable["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("OTEL_"))
        };
        assert!(!variables.any(is_standard), "{container}");
    }
}

#[test]
fn tracing_needs_a_receiver() {
    if !has_helm("chart::tracing_needs_a_receiver") {
        return;
    }
    let refusal = refusal(&[ENABLED, "stack.enabled=false"]);
    let message = "set stack.enabled=true, or operator.tracing.endpoint";
    assert!(refusal.contains(message), "{refusal}");
}
