//! More than one Collector.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::Instant;

use super::{
    edge, jaeger,
    lab::{Lab, RELEASE},
    load, objects, policies, stack, tail,
};

/// The time over which a trace's spans are sent, shorter than the gathering time.
const SPREAD: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn scaling_collectors_loses_no_trace() {
    let Some(lab) = Lab::installed("collector replicas").await else {
        return;
    };
    policies::apply(&lab, "replicas", &tail::errors_kept("pair-shop", "0%")).await;
    tail::wait_until_in_force(&lab, "replicas").await;
    scale(&lab, 2).await;
    let (ruled, free) = ("pair-shop", "pair-till");

    let since = SystemTime::now();
    let sent = load::traces(&lab, &[ruled, free], 100, Duration::from_secs(20), SPREAD)
        .await
        .exported()
        .await;
    let found = jaeger::all_traces(&lab, free, since).await;
    tail::assert_nothing_is_missing(&lab, &sent, &found, ruled, free);

    let lost = spans_lost(&lab).await;
    let since = SystemTime::now();
    let sender = load::traces(&lab, &[ruled, free], 60, load::UNTIL_STOPPED, SPREAD).await;
    for replicas in [1, 2] {
        scale(&lab, replicas).await;
    }
    let sent = sender.stop().await.exported().await;
    let found = jaeger::all_traces(&lab, free, since).await;
    tail::assert_nothing_is_missing(&lab, &sent, &found, ruled, free);
    assert_eq!(spans_lost(&lab).await, lost, "none is missing");
    let stack = stack::wait_until_settled(&lab).await;
    let is_healthy = objects::has(&stack, "Degraded", "False");
    // Spans that an earlier test lost are reported for ten minutes.
    assert!(is_healthy || lost > 0.0, "{}", stack["status"]);
}

/// The spans that the operator has counted as lost.
async fn spans_lost(lab: &Lab) -> f64 {
    let service = format!("{RELEASE}-stacks-ops:9464");
    let metrics = edge::get(lab, &service, "/metrics").await;
    assert!(metrics.status.is_success(), "{metrics:?}");
    let lines = metrics.text.lines();
    let lost = lines.filter(|line| line.starts_with("spoor_operator_gather_lost_spans_total{"));
    lost.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

async fn scale(lab: &Lab, replicas: u32) {
    let started = Instant::now();
    stack::patch(lab, &json!({"collector": {"replicas": replicas}})).await;
    lab.wait_until_settled().await;
    lab.log(format_args!(
        "collector.replicas: {replicas} after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
}
