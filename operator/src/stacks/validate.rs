//! Validation of a stack's spec.

use k8s_openapi::api::core::v1::{Affinity, TopologySpreadConstraint};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use spoor_api::{
    FieldError, FieldPath, TracingStack,
    stack::{Collector, Jaeger, Route, Scheduling, Stack},
};

use super::build::otlp_service::existing_address;

/// Validates a stack. The API server has already refused most invalid ones.
///
/// # Errors
/// Each field that is wrong.
pub fn validate(stack: &TracingStack) -> Result<Stack, Vec<FieldError>> {
    let stack = stack.validate()?;
    let mut errors = vec![];
    let spec = FieldPath::root().field("spec");
    let at = |part: &str| spec.field(part).field("scheduling");
    if let Jaeger::Managed(jaeger) = &stack.jaeger {
        check_scheduling(&jaeger.pod.scheduling, &at("jaeger"), &mut errors);
    }
    if let Collector::Managed(collector) = &stack.collector {
        check_scheduling(&collector.pod.scheduling, &at("collector"), &mut errors);
    }
    check_ports_match(&stack, &spec, &mut errors);
    if errors.is_empty() {
        Ok(stack)
    } else {
        Err(errors)
    }
}

/// Checks that both routes have the same port, since services have one address for both.
fn check_ports_match(stack: &Stack, spec: &FieldPath, errors: &mut Vec<FieldError>) {
    let (Some(collector), Some(jaeger)) = (
        existing_address(stack, Route::Collector),
        existing_address(stack, Route::Direct),
    ) else {
        return;
    };
    if collector.port() != jaeger.port() {
        let at = spec.field("collector").field("existing").field("otlp");
        let problem = format!(
            "must have the same port as jaeger.existing.otlp, {}, not {}, since services use one \
             port for both routes",
            jaeger.port(),
            collector.port()
        );
        errors.push(FieldError::new(at, problem));
    }
}

/// Checks the fields whose types Kubernetes defines, since they are passed to pods unchanged.
fn check_scheduling(scheduling: &Scheduling, at: &FieldPath, errors: &mut Vec<FieldError>) {
    if let Some(affinity) = &scheduling.affinity {
        check_shape::<Affinity>(&affinity.0, at.field("affinity"), errors);
    }
    let spread = at.field("topologySpreadConstraints");
    for (index, constraint) in scheduling.topology_spread_constraints.iter().enumerate() {
        check_shape::<TopologySpreadConstraint>(&constraint.0, spread.index(index), errors);
    }
}

fn check_shape<T: DeserializeOwned>(
    fields: &Map<String, Value>,
    at: FieldPath,
    errors: &mut Vec<FieldError>,
) {
    // Otherwise the API server would refuse the Deployment later, and the error would not name the
    // field of the stack.
    if let Err(error) = serde_json::from_value::<T>(Value::Object(fields.clone())) {
        let problem = format!("must be valid in a pod's spec: {error}");
        errors.push(FieldError::new(at, problem));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::json;
    use spoor_api::Metadata;

    use super::*;

    #[rstest]
    #[case(
        json!({"jaeger": {"scheduling": {"affinity": {"podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": 7}],
        }}}}}),
        "spec.jaeger.scheduling.affinity: must be valid in a pod's spec"
    )]
    #[case(
        json!({"collector": {"scheduling": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": 7},
        }]}}}),
        "spec.collector.scheduling.topologySpreadConstraints[0]: must be valid in a pod's spec"
    )]
    #[case(
        json!({
            "collector": {"existing": {"otlp": "collector.tools.svc:4317"}},
            "jaeger": {"existing": {"otlp": "jaeger.tools.svc:14317"}},
        }),
        "spec.collector.existing.otlp: must have the same port as jaeger.existing.otlp, 14317, not 4317"
    )]
    fn names_the_field(#[case] spec: Value, #[case] expected: &str) {
        let spec = serde_json::from_value(spec).unwrap();
        let stack = TracingStack::new(Metadata::named("tracing"), spec);
        let errors = validate(&stack).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        let found = errors[0].to_string();
        assert!(found.starts_with(expected), "{found}");
    }
}
