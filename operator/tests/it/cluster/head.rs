//! Head sampling: a policy changes what running services sample, and the status proves it.

use std::time::{Duration, SystemTime};

use serde_json::json;
use spoor_policy::{Probability, statistics};
use tokio::time::Instant;

use super::{
    command::kubectl,
    jaeger,
    lab::{Lab, SERVICE_A_PODS},
    load, pods, policies,
};

/// Significance level: one in ten thousand correct counts fails.
const SIGNIFICANCE: f64 = 1e-4;

#[tokio::test(flavor = "multi_thread")]
async fn policy_changes_rate_of_running_services() {
    let Some(lab) = Lab::installed("head sampling").await else {
        return;
    };
    let before = pods::of_services(&lab).await;
    assert_rate_is(&lab, "100%", Duration::from_secs(6)).await;

    let applied = Instant::now();
    policies::apply_sample(&lab, "service-a-1-percent.yaml").await;
    let (policy, took) = policies::wait_until_converged(&lab, "service-a", applied).await;
    let clients = &policy["status"]["clients"];
    lab.log(format_args!(
        "1 %: every instance has it {} ms after kubectl was started, the slowest {} ms after it was sent",
        took.as_millis(),
        clients["slowestMilliseconds"]
    ));
    assert_eq!(clients["expected"], SERVICE_A_PODS, "{clients}");
    assert_eq!(clients["current"], SERVICE_A_PODS, "{clients}");
    assert_eq!(policy["status"]["effective"][0]["strategy"], "1%");
    assert_rate_is(&lab, "1%", Duration::from_secs(45)).await;
    assert_table_shows_rate(&lab).await;

    let patched = Instant::now();
    policies::patch(&lab, "service-a", &json!({"head": {"probability": "10%"}})).await;
    let (_, took) = policies::wait_until_converged(&lab, "service-a", patched).await;
    lab.log(format_args!(
        "10 % by kubectl patch: every instance has it {} ms after kubectl was started",
        took.as_millis()
    ));
    assert_rate_is(&lab, "10%", Duration::from_secs(15)).await;

    policies::delete(&lab, "service-a").await;
    wait_for_default(&lab).await;
    assert_rate_is(&lab, "100%", Duration::from_secs(6)).await;
    assert_eq!(
        pods::of_services(&lab).await,
        before,
        "restarted or replaced"
    );
}

/// Sends load, and compares the number of traces in Jaeger with the rate.
async fn assert_rate_is(lab: &Lab, rate: &str, lasts: Duration) {
    let since = SystemTime::now();
    let sent = load::requests(lab, 300, lasts).await.answered().await;
    let rate: Probability = rate.parse().unwrap();
    let found = if rate == Probability::ALWAYS {
        let spans = 3 * usize::try_from(sent.requests).unwrap();
        jaeger::wait_for_spans(lab, "service-a", since, spans).await
    } else {
        jaeger::all_traces(lab, "service-a", since).await
    };
    let roots = found.values().filter(|trace| starts_at_service_a(trace));
    let sampled = u64::try_from(roots.count()).unwrap();
    let p_value = statistics::p_value(sampled, sent.requests, rate);
    lab.log(format_args!(
        "{rate} of {} requests: {sampled} traces (p = {p_value:.3}); latency {}",
        sent.requests, sent.latency
    ));
    assert!(p_value > SIGNIFICANCE, "{sampled} of {}", sent.requests);
    let broken: Vec<_> = found
        .iter()
        .filter(|(_, trace)| trace.spans != 3 || trace.distinct != 3)
        .collect();
    assert!(broken.is_empty(), "{} incomplete: {broken:?}", broken.len());
}

fn starts_at_service_a(trace: &jaeger::Trace) -> bool {
    trace.root.as_deref() == Some("service-a")
}

/// Asserts that the table of `kubectl get` has strategy, current clients and observed rate.
async fn assert_table_shows_rate(lab: &Lab) {
    let consistent =
        |policy: &serde_json::Value| policy["status"]["observed"]["verdict"] == "Consistent";
    policies::until(lab, "service-a", "an observed rate", consistent).await;
    let table = kubectl(&["get", "samplingpolicies", "--namespace", lab.namespace]).await;
    lab.log(format_args!("kubectl get samplingpolicies:\n{table}"));
    let row = table
        .lines()
        .find(|row| row.starts_with("service-a"))
        .unwrap();
    let clients = format!("{SERVICE_A_PODS}/{SERVICE_A_PODS}");
    for expected in ["1%", &clients, "% Consistent", "True"] {
        assert!(row.contains(expected), "{expected} in {row}");
    }
}

/// Waits until services are back at their fallback. Without a policy no status reports that, so
/// this waits until several requests in a row are traced.
async fn wait_for_default(lab: &Lab) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let since = SystemTime::now();
        let sent = load::requests(lab, 20, Duration::from_secs(2))
            .await
            .answered()
            .await;
        let spans = 3 * usize::try_from(sent.requests).unwrap();
        let found = jaeger::wait_for_spans(lab, "service-a", since, spans).await;
        if found.len() as u64 == sent.requests {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {}",
            found.len(),
            sent.requests
        );
    }
}
