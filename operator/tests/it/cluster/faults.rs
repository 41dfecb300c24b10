//! Failures, and recovery from them.

pub mod sampler;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    command::kubectl,
    edge, jaeger,
    lab::{Lab, RELEASE, ROLLOUT_TIMEOUT, SERVICE_A_PODS, STACK},
    load, objects, pods, policies, stack,
};
use crate::apiserver::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn killed_operator_completes_its_change() {
    let Some(lab) = Lab::installed("operator killed").await else {
        return;
    };
    policies::apply(&lab, "service-a", &head("50%")).await;
    policies::wait_until_converged(&lab, "service-a", Instant::now()).await;
    let before = pods::of_services(&lab).await;
    let sender = load::requests(&lab, 50, load::UNTIL_STOPPED).await;

    for rate in ["20%", "100%"] {
        let changed = Instant::now();
        let wanted = head(rate);
        // Concurrently, so that the change may be at any step when the operator is killed.
        let (stacks, policies) = (operator("stacks"), operator("policies"));
        let ((), stacks, policies) = tokio::join!(
            policies::apply(&lab, "service-a", &wanted),
            pods::kill(&lab, &stacks),
            pods::kill(&lab, &policies)
        );
        assert_eq!((stacks, policies), (1, 1));
        let (policy, took) = policies::wait_until_converged(&lab, "service-a", changed).await;
        lab.log(format_args!(
            "{rate}: in force {:.1} s after it was applied and the operator killed",
            took.as_secs_f64()
        ));
        assert_eq!(policy["status"]["clients"]["current"], SERVICE_A_PODS);
    }
    let sent = sender.stop().await.answered().await;
    lab.log(format_args!(
        "{} requests during that time, none failed",
        sent.requests
    ));
    assert_eq!(
        pods::of_services(&lab).await,
        before,
        "restarted or replaced"
    );
    lab.wait_until_settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_keep_their_rate_without_operator() {
    let Some(lab) = Lab::installed("no operator").await else {
        return;
    };
    policies::apply(&lab, "service-a", &head("0%")).await;
    policies::wait_until_converged(&lab, "service-a", Instant::now()).await;
    let deployment = format!("deployment/{RELEASE}-policies");
    let scale = async |replicas: &str| {
        let replicas = format!("--replicas={replicas}");
        kubectl(&[
            "scale",
            &deployment,
            &replicas,
            "--namespace",
            lab.namespace,
        ])
        .await;
    };
    scale("0").await;
    eventually("no operator", ROLLOUT_TIMEOUT, || async {
        let pods = pods::list(&lab, &operator("policies")).await;
        if pods.is_empty() {
            Ok(())
        } else {
            Err(format!("{} pods", pods.len()))
        }
    })
    .await;

    let since = SystemTime::now();
    let sent = load::requests(&lab, 50, Duration::from_secs(10))
        .await
        .answered()
        .await;
    let found = jaeger::all_traces(&lab, "service-a", since).await;
    lab.log(format_args!(
        "{} requests without an operator, {} traces at 0 %",
        sent.requests,
        found.len()
    ));
    assert!(found.is_empty(), "{} traces", found.len());

    let back = Instant::now();
    scale("1").await;
    policies::apply(&lab, "service-a", &head("100%")).await;
    let (_, took) = policies::wait_until_converged(&lab, "service-a", back).await;
    lab.log(format_args!(
        "operator back, and 100 % in force after {:.1} s",
        took.as_secs_f64()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_reports_the_collectors_error() {
    let Some(lab) = Lab::installed("unknown exporter").await else {
        return;
    };
    stack::patch(&lab, &json!({"collector": {"exporters": {"nonesuch": {}}}})).await;
    let degraded = eventually("the Collector's own error", ROLLOUT_TIMEOUT, || async {
        let stack = stack::read(&lab).await;
        let degraded = objects::condition(&stack, "Degraded").cloned();
        let message = |it: &Value| it["message"].as_str().unwrap_or_default().to_owned();
        match degraded {
            Some(it) if message(&it).contains("unknown type: \"nonesuch\"") => Ok(it),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    lab.log(&degraded);
    assert_eq!(degraded["status"], "True");
    // The earlier Collector is still running.
    let stack = stack::read(&lab).await;
    assert!(objects::has(&stack, "Available", "True"), "{stack}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_outlive_a_killed_jaeger() {
    let Some(lab) = Lab::installed("jaeger killed").await else {
        return;
    };
    let since = SystemTime::now();
    let sender = load::requests(&lab, 50, Duration::from_secs(50)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let killed = SystemTime::now();
    assert_eq!(pods::kill(&lab, &jaeger_pods()).await, 1);
    let sent = sender.answered().await;
    lab.wait_until_settled().await;
    // Memory storage loses its traces. Spans on their way, and later ones, wait in queues.
    let found = jaeger::all_traces(&lab, "service-a", since).await;
    let broken = found
        .values()
        .filter(|trace| trace.spans != 3 || trace.distinct != 3)
        .count();
    let ended = SystemTime::now().duration_since(killed).unwrap();
    lab.log(format_args!(
        "{} requests, {} of their traces in Jaeger {:.0} s after the kill, {broken} incomplete or repeated",
        sent.requests,
        found.len(),
        ended.as_secs_f64()
    ));
    let lost = sent.requests - found.len() as u64;
    // Its memory held the traces of the first 5 s and of the sender's start.
    assert!(lost <= 50 * 10, "{lost} lost: more than it held");
    assert_eq!(broken, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_deleted_by_hand_come_back() {
    let Some(lab) = Lab::installed("children deleted").await else {
        return;
    };
    let children = [
        format!("service/{STACK}-otlp"),
        format!("service/{STACK}-query"),
        format!("deployment/{STACK}-decide"),
        format!("deployment/{STACK}-gather"),
        format!("deployment/{STACK}-jaeger"),
        format!("configmap/{STACK}-otel-env"),
        format!("configmap/{STACK}-ca"),
    ];
    for child in &children {
        let uid = uid(&lab, child).await.expect("the object exists");
        let deleted = Instant::now();
        kubectl(&["delete", child, "--namespace", lab.namespace]).await;
        eventually(child, ROLLOUT_TIMEOUT, || async {
            match self::uid(&lab, child).await {
                Some(new) if new != uid => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        lab.log(format_args!(
            "{child} is back after {} ms",
            deleted.elapsed().as_millis()
        ));
    }
    lab.wait_until_settled().await;
    let since = SystemTime::now();
    let sent = load::requests(&lab, 50, Duration::from_secs(4))
        .await
        .answered()
        .await;
    let spans = 3 * usize::try_from(sent.requests).unwrap();
    let found = jaeger::wait_for_spans(&lab, "service-a", since, spans).await;
    assert_eq!(
        found.len() as u64,
        sent.requests,
        "traces, after all deletions"
    );
}

fn head(rate: &str) -> serde_json::Value {
    json!({"targets": [{"service": "service-a"}], "head": {"probability": rate}})
}

/// Empties Jaeger, whose traces are in its pod's memory. Exporters pause between two attempts, so
/// this waits until a trace arrives again.
pub async fn empty_jaeger(lab: &Lab) {
    pods::kill(lab, &jaeger_pods()).await;
    lab.wait_until_settled().await;
    let since = SystemTime::now();
    eventually("a trace of bands", ROLLOUT_TIMEOUT, || async {
        edge::get(lab, "bands:8082", "/bands").await;
        match jaeger::traces(lab, "bands", since).await.len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
}

/// Selector of Jaeger's pods.
fn jaeger_pods() -> String {
    format!("app.kubernetes.io/name=jaeger,app.kubernetes.io/instance={STACK}")
}

/// Selector of a role's pods.
fn operator(role: &str) -> String {
    format!("app.kubernetes.io/name={RELEASE}-{role}")
}

async fn uid(lab: &Lab, object: &str) -> Option<String> {
    let uid = "jsonpath={.metadata.uid}";
    let get = [
        "get",
        object,
        "--namespace",
        lab.namespace,
        "--ignore-not-found",
    ];
    let uid = kubectl(&[&get[..], &["--output", uid]].concat()).await;
    (!uid.is_empty()).then_some(uid)
}
