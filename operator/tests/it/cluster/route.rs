//! The route from the services to Jaeger, changed while traffic runs.

use std::time::SystemTime;

use serde_json::json;
use tokio::time::Instant;

use super::{
    applications, jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT},
    load, objects, pods, policies, stack, tail,
};
use crate::apiserver::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn route_change_under_load_loses_no_span() {
    let Some(lab) = Lab::installed("route").await else {
        return;
    };
    let before = pods::of_services(&lab).await;
    let since = SystemTime::now();
    let sender = load::requests(&lab, 60, load::UNTIL_STOPPED).await;
    change_route(&lab, "Direct").await;
    change_route(&lab, "Collector").await;
    let sent = sender.stop().await.answered().await;
    let spans = 3 * usize::try_from(sent.requests).unwrap();
    let found = jaeger::wait_for_spans(&lab, "service-a", since, spans).await;
    let arrived: usize = found.values().map(|trace| trace.distinct).sum();
    let repeated: usize = found
        .values()
        .map(|trace| trace.spans - trace.distinct)
        .sum();
    lab.log(format_args!(
        "{} requests with {spans} spans: {arrived} arrived, {repeated} of them more than once",
        sent.requests
    ));
    assert_eq!(found.len() as u64, sent.requests, "traces");
    assert_eq!((arrived, repeated), (spans, 0));
    assert_eq!(
        pods::of_services(&lab).await,
        before,
        "restarted or replaced"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_route_reports_tail_rules_as_inactive() {
    let Some(lab) = Lab::installed("without a Collector").await else {
        return;
    };
    change_route(&lab, "Direct").await;
    applications::assert_complete_traces(&lab).await;
    policies::apply(
        &lab,
        "needs-collector",
        &tail::errors_kept("service-a", "10%"),
    )
    .await;
    let policy = policies::wait_for(&lab, "needs-collector", "Programmed", "False").await;
    let programmed = objects::condition(&policy, "Programmed").unwrap();
    lab.log(programmed);
    assert_eq!(programmed["reason"], "RouteIsDirect", "{programmed}");
    let message = programmed["message"].as_str().unwrap();
    assert!(message.contains("route"), "{message}");
}

/// Changes the route, and waits until the status reports that traffic has moved and drained.
async fn change_route(lab: &Lab, route: &str) {
    let started = Instant::now();
    stack::patch(lab, &json!({ "route": route })).await;
    eventually("traffic on the new route", ROLLOUT_TIMEOUT, || async {
        let stack = stack::read(lab).await;
        if stack["status"]["route"] == route {
            Ok(())
        } else {
            Err(stack["status"].to_string())
        }
    })
    .await;
    let moved = started.elapsed().as_secs_f64();
    stack::wait_until_settled(lab).await;
    lab.log(format_args!(
        "{route}: traffic has moved after {moved:.1} s, everything is drained after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
}
