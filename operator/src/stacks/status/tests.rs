#![allow(clippy::unwrap_used)]

mod sampler;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use spoor_api::{Metadata, TracingStack};

use super::{health::PartHealth, *};
use crate::{
    kubernetes::watch::Key,
    stacks::{
        build::otlp_service::OtlpTarget,
        route::{self, RouteState},
        validate::validate,
    },
};

const READY: PartHealth = PartHealth {
    exists: true,
    is_available: true,
    is_complete: true,
};
const STARTING: PartHealth = PartHealth {
    exists: true,
    is_available: false,
    is_complete: false,
};

struct Case {
    spec: Value,
    target: OtlpTarget,
    health: StackHealth,
    waiting: Option<RolloutWait>,
    scaling: Option<ScalingPlan>,
    report: ApplyReport,
    former_engine_keeps_all: bool,
    pods: Vec<Pod>,
    previous: TracingStackStatus,
    at: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            spec: json!({}),
            target: OtlpTarget {
                route: Route::Collector,
                engine: SamplerEngine::OpenTelemetry,
                since: None,
            },
            health: StackHealth {
                jaeger: READY,
                gather: READY,
                decide: READY,
                collector: PartHealth::default(),
                sampler: PartHealth::default(),
                ready_samplers: 0,
                tail: Some(TailInForce {
                    digest: "d1".to_owned(),
                    policies: 2,
                }),
            },
            waiting: None,
            scaling: None,
            report: ApplyReport::default(),
            former_engine_keeps_all: true,
            pods: vec![],
            previous: TracingStackStatus::default(),
            at: 0,
        }
    }
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn object() -> StackObject {
    StackObject {
        key: Key {
            namespace: "shop".to_owned(),
            name: "tracing".to_owned(),
        },
        uid: "1".to_owned(),
        generation: Some(3),
        resource_version: None,
        forgotten_samplers: BTreeSet::new(),
        is_being_deleted: false,
        spec: Value::Null,
        status: Value::Null,
    }
}

impl Case {
    /// The status of a stack whose Collector decides itself, unless the spec has another sampler.
    fn status(mut self) -> TracingStackStatus {
        if self.spec["sampler"].is_null() && self.spec["collector"]["existing"].is_null() {
            self.spec["sampler"] = json!({"engine": "OpenTelemetry"});
        }
        let metadata = Metadata {
            namespace: Some("shop".to_owned()),
            ..Metadata::named("tracing")
        };
        let spec = serde_json::from_value(self.spec).unwrap();
        let stack = validate(&TracingStack::new(metadata, spec)).unwrap();
        let observed = RouteState {
            target: Some(self.target),
            jaeger_is_ready: self.health.jaeger.is_available,
            collector_is_ready: self.health.is_collector_complete(&stack),
            collector_exists: self.health.gather.exists,
            former_engine_exists: self.health.has_engine(stack.sampler.engine().other()),
            former_engine_keeps_all: self.former_engine_keeps_all,
        };
        let progress = route::plan(&stack, &observed, time(self.at));
        Findings {
            stack: &stack,
            object: &object(),
            previous: &self.previous,
            health: &self.health,
            route_plan: &progress,
            waiting: self.waiting,
            scaling: self.scaling.as_ref(),
            report: &self.report,
            policies_service: &PoliciesService {
                name: "spoor-policies".to_owned(),
                namespace: "spoor".to_owned(),
            },
            pods: &self.pods,
            contested: None,
            now: time(self.at),
        }
        .status()
    }
}

/// `Available=True Ready: …`, one per line.
fn conditions_of(status: &TracingStackStatus) -> String {
    let line = |condition: &Condition| {
        let status = condition.status;
        let Condition {
            kind,
            reason,
            message,
            ..
        } = condition;
        format!("{kind}={status:?} {reason}: {message}")
    };
    status
        .conditions
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn status_of_a_running_stack() {
    insta::assert_yaml_snapshot!(Case::default().status());
}

#[test]
fn status_of_a_starting_stack() {
    let health = StackHealth {
        jaeger: STARTING,
        gather: STARTING,
        ..StackHealth::default()
    };
    let status = Case {
        health,
        ..Case::default()
    };
    let status = status.status();
    insta::assert_snapshot!(conditions_of(&status));
    assert_eq!(status.tail, None);
}

#[test]
fn status_while_the_route_changes() {
    let target = OtlpTarget {
        route: Route::Direct,
        engine: SamplerEngine::OpenTelemetry,
        since: Some(time(0)),
    };
    let moving = Case {
        spec: json!({"route": "Direct"}),
        target,
        at: 5,
        ..Case::default()
    };
    let moving = moving.status();
    assert_eq!(moving.route, Some(Route::Collector));
    assert!(moving.tail.is_some());
    let moved = Case {
        spec: json!({"route": "Direct"}),
        target,
        at: 500,
        previous: moving.clone(),
        ..Case::default()
    };
    let moved = moved.status();
    assert_eq!(moved.route, Some(Route::Direct));
    assert_eq!(moved.tail, None, "no tail rules without a Collector");
    let waiting = Case {
        health: StackHealth {
            jaeger: READY,
            ..StackHealth::default()
        },
        target: OtlpTarget {
            since: None,
            ..target
        },
        ..Case::default()
    };
    let waiting = waiting.status();
    assert_eq!(waiting.route, Some(Route::Direct));
    let all = [&moving, &moved, &waiting].map(conditions_of);
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn reports_old_rules_until_new_are_in_force() {
    let before = Case::default().status();
    let mut health = Case::default().health;
    health.tail = None;
    health.decide.is_complete = false;
    let rolling = Case {
        health,
        waiting: Some(RolloutWait::ExporterFails),
        previous: before.clone(),
        ..Case::default()
    };
    let rolling = rolling.status();
    assert_eq!(rolling.tail, before.tail);
    insta::assert_snapshot!(conditions_of(&rolling));
}

#[test]
fn just_applied_objects_are_progressing() {
    let report = ApplyReport {
        rolled: vec!["Deployment tracing-jaeger".to_owned()],
        ..ApplyReport::default()
    };
    let case = Case {
        report,
        ..Case::default()
    };
    let text = conditions_of(&case.status());
    let rolling = "Progressing=True RollingOut: applied Deployment tracing-jaeger; waiting for";
    assert!(text.contains(rolling), "{text}");
}

#[test]
fn status_with_problems() {
    let problem = |reason, message: &str| StackProblem {
        reason,
        message: message.to_owned(),
    };
    let report = ApplyReport {
        problems: vec![
            problem("NameTaken", "Service shop/tracing-otlp already exists"),
            problem(
                "ApplyFailed",
                "cannot apply ConfigMap shop/tracing-ca: forbidden",
            ),
        ],
        ..ApplyReport::default()
    };
    let taken = Case {
        report,
        ..Case::default()
    };
    let pod = |name: &str, status: Value| -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
    };
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    let container = json!({"name": "jaeger", "ready": false, "restartCount": 3, "image": "",
        "imageID": "", "state": waiting});
    let unscheduled = json!({"type": "PodScheduled", "status": "False",
        "message": "0/1 nodes are available"});
    let pods = vec![
        pod(
            "tracing-jaeger-1",
            json!({"containerStatuses": [container]}),
        ),
        pod("tracing-gather-1", json!({"conditions": [unscheduled]})),
        pod("tracing-decide-1", json!({"phase": "Running"})),
    ];
    let crashing = Case {
        pods,
        ..Case::default()
    };
    let both = [&taken.status(), &crashing.status()].map(conditions_of);
    insta::assert_snapshot!(both.join("\n\n"));
}

#[test]
fn lost_spans_do_not_hide_a_failing_pod() {
    let lost = StackProblem {
        reason: SPANS_LOST,
        message: "lost 3 spans".to_owned(),
    };
    let report = ApplyReport {
        problems: vec![lost],
        ..ApplyReport::default()
    };
    let unscheduled = json!({"type": "PodScheduled", "status": "False", "message": "no node"});
    let pod = json!({
        "metadata": {"name": "tracing-gather-1"},
        "status": {"conditions": [unscheduled]},
    });
    let case = Case {
        report,
        pods: vec![serde_json::from_value(pod).unwrap()],
        ..Case::default()
    };
    let text = conditions_of(&case.status());
    let both = "Degraded=True PodsFailing: pod tracing-gather-1: no node; lost 3 spans";
    assert!(text.contains(both), "{text}");
}

#[test]
fn reordered_values_keep_the_message() {
    let crashing = |values: &str, previous: TracingStackStatus| {
        let error = format!("Error: unknown type: \"kafkaa\" (valid values: [{values}])");
        let ended = json!({"exitCode": 1, "message": error});
        let container = json!({"name": "collector", "ready": false, "restartCount": 3, "image": "",
            "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": ended}});
        let status = json!({"containerStatuses": [container]});
        let pod = json!({"metadata": {"name": "tracing-decide-1"}, "status": status});
        let case = Case {
            pods: vec![serde_json::from_value(pod).unwrap()],
            previous,
            ..Case::default()
        };
        case.status()
    };
    let first = crashing("debug file nop", TracingStackStatus::default());
    assert!(conditions_of(&first).contains("(valid values: [debug file nop])"));
    assert_eq!(crashing("nop debug file", first.clone()), first);
    let other = crashing("nop debug otlp", first.clone());
    assert!(conditions_of(&other).contains("(valid values: [nop debug otlp])"));
}

#[test]
fn invalid_stack_keeps_the_other_conditions() {
    let before = Case::default().status();
    let problem = StackProblem {
        reason: "Invalid",
        message: "spec.jaeger.replicas: must be 1; correct the spec (existing objects are kept)"
            .to_owned(),
    };
    let status = blocked(problem, None, &object(), &before, time(9));
    assert_eq!(status.endpoints, before.endpoints);
    assert_eq!(status.tail, before.tail);
    insta::assert_snapshot!(conditions_of(&status));
}

#[test]
fn unchanged_stack_has_the_same_status() {
    let before = Case::default().status();
    let again = Case {
        previous: before.clone(),
        at: 3600,
        ..Case::default()
    };
    assert_eq!(again.status(), before);
}
