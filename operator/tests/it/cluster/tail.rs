//! Tail rules keep the expected traces, and a change of rules loses, splits or repeats none.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use spoor_policy::{Probability, statistics};
use tokio::time::Instant;

use super::{
    jaeger::{self, Traces},
    lab::{Lab, STACK},
    load::{self, Generated},
    pods, policies, stack,
};

/// Significance level: one in ten thousand correct counts fails.
const SIGNIFICANCE: f64 = 1e-4;
/// The time over which a trace's spans are sent, shorter than the gathering time.
const SPREAD: Duration = Duration::from_secs(1);
/// The pods of the tier that decides.
pub const DECIDE: &str = "app.kubernetes.io/name=collector-decide";

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_a_tenth_of_the_rest_are_kept() {
    let Some(lab) = Lab::installed("tail sampling").await else {
        return;
    };
    policies::apply(&lab, "errors-kept", &errors_kept("tail-shop", "10%")).await;
    wait_until_in_force(&lab, "errors-kept").await;
    let since = SystemTime::now();
    let sent = load::traces(
        &lab,
        &["tail-shop", "tail-till"],
        100,
        Duration::from_secs(40),
        SPREAD,
    )
    .await
    .exported()
    .await;
    let found = jaeger::all_traces(&lab, "tail-till", since).await;
    let kept = Kept::of(&found, "tail-shop");
    let (shop, till) = (sent.services["tail-shop"], sent.services["tail-till"]);
    let p_value = statistics::p_value(
        kept.others,
        shop.traces - shop.errors,
        "10%".parse::<Probability>().unwrap(),
    );
    lab.log(format_args!(
        "{} of {} with an error, {} of {} without (p = {p_value:.3}), {} of {} of another service",
        kept.errors,
        shop.errors,
        kept.others,
        shop.traces - shop.errors,
        kept.elsewhere,
        till.traces
    ));
    assert_eq!(kept.errors, shop.errors);
    assert_eq!(
        kept.elsewhere, till.traces,
        "another service's are untouched"
    );
    assert!(p_value > SIGNIFICANCE);
    assert_complete(&found);
    let policy = policies::wait_for(&lab, "errors-kept", "Programmed", "True").await;
    let digest = &stack::read(&lab).await["status"]["tail"];
    lab.log(format_args!(
        "in force: {digest}; status {}",
        policy["status"]["summary"]
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_changes_under_load_keep_traces_complete() {
    let Some(lab) = Lab::installed("tail rules under load").await else {
        return;
    };
    let since = SystemTime::now();
    let services = ["roll-shop", "roll-till"];
    let sender = load::traces(&lab, &services, 60, load::UNTIL_STOPPED, SPREAD).await;
    // Every set of rules keeps errors, so each trace with an error must arrive complete.
    for otherwise in ["10%", "0%", "60%", "5%"] {
        let changed = Instant::now();
        policies::apply(&lab, "rolling", &errors_kept("roll-shop", otherwise)).await;
        wait_until_in_force(&lab, "rolling").await;
        lab.log(format_args!(
            "otherwise {otherwise}: in force after {:.1} s",
            changed.elapsed().as_secs_f64()
        ));
    }
    drain(&lab, DECIDE).await;
    policies::delete(&lab, "rolling").await;
    stack::wait_until_settled(&lab).await;
    let sent = sender.stop().await.exported().await;
    let found = jaeger::all_traces(&lab, "roll-till", since).await;
    assert_nothing_is_missing(&lab, &sent, &found, "roll-shop", "roll-till");
}

/// Measures behaviour that is not guaranteed: a trace longer than both waits is decided on before
/// its root arrives, and is kept.
#[tokio::test(flavor = "multi_thread")]
async fn long_traces_are_decided_before_they_end() {
    let Some(lab) = Lab::installed("long traces").await else {
        return;
    };
    policies::apply(&lab, "long", &errors_kept("long-shop", "0%")).await;
    wait_until_in_force(&lab, "long").await;
    let (since, spread) = (SystemTime::now(), Duration::from_secs(12));
    let sent = load::traces(&lab, &["long-shop"], 20, Duration::from_secs(20), spread)
        .await
        .exported()
        .await;
    let found = jaeger::all_traces(&lab, "long-shop", since).await;
    let complete = found.values().filter(|trace| is_complete(trace)).count();
    let errors = sent.services["long-shop"].errors;
    lab.log(format_args!(
        "traces of 12 s, far longer than gatherWait: {errors} of {} have an error, and only those should be kept; \
         {} are in Jaeger, {complete} of them complete",
        sent.traces,
        found.len()
    ));
    assert!(found.len() as u64 >= errors, "{} of {errors}", found.len());
}

/// Measures behaviour that is not guaranteed: a pod that is killed loses the traces that it holds.
#[tokio::test(flavor = "multi_thread")]
async fn killed_collector_loses_only_what_it_holds() {
    let Some(lab) = Lab::installed("decide killed").await else {
        return;
    };
    // The policy keeps every trace, which the deciding pod holds until it has decided.
    policies::apply(&lab, "killed", &errors_kept("killed-shop", "100%")).await;
    wait_until_in_force(&lab, "killed").await;
    let since = SystemTime::now();
    let sender = load::traces(&lab, &["killed-shop"], 50, Duration::from_secs(20), SPREAD).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let killed = pods::kill(&lab, DECIDE).await;
    let sent = sender.exported().await;
    pods::wait_until_ready(&lab).await;
    let found = jaeger::all_traces(&lab, "killed-shop", since).await;
    let complete = found
        .values()
        .filter(|trace| trace.distinct == load::SPANS)
        .count();
    lab.log(format_args!(
        "{killed} deciding pod deleted without grace: of {} traces, {} are missing and {} incomplete",
        sent.traces,
        sent.traces - found.len() as u64,
        found.len() - complete
    ));
    // Only the traces that the pod held may be lost: those of 5 s of deciding and a retry.
    assert!(
        complete as u64 >= sent.traces / 2,
        "{complete} of {}",
        sent.traces
    );
}

/// Keeps errors, and this share of the rest.
pub fn errors_kept(service: &str, otherwise: &str) -> Value {
    json!({
        "targets": [{"service": service}],
        "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": otherwise},
    })
}

/// Waits until the Collector decides by the policy's rules, and the stack has settled.
pub async fn wait_until_in_force(lab: &Lab, policy: &str) {
    policies::wait_for(lab, policy, "Programmed", "True").await;
    let stack = stack::wait_until_settled(lab).await;
    assert!(
        stack["status"]["tail"]["digest"].is_string(),
        "{STACK}: {}",
        stack["status"]
    );
}

/// Asserts that all traces with errors of the first service and all traces of the second arrived,
/// and that every trace that arrived is complete and without repeated spans.
pub fn assert_nothing_is_missing(
    lab: &Lab,
    sent: &Generated,
    found: &Traces,
    ruled: &str,
    free: &str,
) {
    let kept = Kept::of(found, ruled);
    let broken = found.values().filter(|trace| !is_complete(trace)).count();
    lab.log(format_args!(
        "{} traces with {} spans sent; {} of {} with an error kept, {} of {} without a rule; {broken} incomplete or with repeated spans",
        sent.traces,
        sent.spans,
        kept.errors,
        sent.services[ruled].errors,
        kept.elsewhere,
        sent.services[free].traces
    ));
    assert_complete(found);
    assert_eq!(kept.errors, sent.services[ruled].errors, "with an error");
    assert_eq!(kept.elsewhere, sent.services[free].traces, "without a rule");
}

/// Deletes the pods with these labels as a drained node would, gracefully, one by one.
pub async fn drain(lab: &Lab, labels: &str) {
    for pod in pods::list(lab, labels).await {
        let name = pod.metadata.name.unwrap();
        let gracefully = kube::api::DeleteParams::default();
        pods::api(lab).delete(&name, &gracefully).await.unwrap();
        lab.log(format_args!("drained {name}"));
        lab.wait_until_settled().await;
    }
}

/// Number of traces of each kind.
struct Kept {
    errors: u64,
    others: u64,
    elsewhere: u64,
}

impl Kept {
    fn of(found: &Traces, ruled: &str) -> Self {
        let (mut errors, mut others, mut elsewhere) = (0, 0, 0);
        for trace in found.values() {
            match (trace.root.as_deref() == Some(ruled), trace.has_error) {
                (true, true) => errors += 1,
                (true, false) => others += 1,
                (false, _) => elsewhere += 1,
            }
        }
        Self {
            errors,
            others,
            elsewhere,
        }
    }
}

fn is_complete(trace: &jaeger::Trace) -> bool {
    trace.spans == load::SPANS && trace.distinct == load::SPANS && trace.root.is_some()
}

fn assert_complete(found: &Traces) {
    let broken: Vec<_> = found.iter().filter(|(_, it)| !is_complete(it)).collect();
    let some = broken.len().min(5);
    assert!(
        broken.is_empty(),
        "{} incomplete: {:?}",
        broken.len(),
        &broken[..some]
    );
}
