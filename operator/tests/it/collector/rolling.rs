//! The number of traces lost, split or repeated by changes of rules, kills and outages under load.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use rstest::rstest;
use spoor_operator::stacks::collector::exporter::{ExporterHealth, ExporterReading};
use spoor_policy::{Probability, TailTable};

use super::{
    load::{Load, Sent, TraceOutcomes, send},
    sink::Sink,
    stack, table,
    tiers::Tiers,
};
use crate::apiserver::eventually;

const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Errors are kept, and 10 or 20 % of the rest.
fn rules() -> [TailTable; 2] {
    ["10%", "20%"].map(|share| {
        table(&[&format!(
            "{{targets: [{{service: a}}], tail: {{otherwise: {share}, keep: [{{name: errors, error: {{}}}}]}}}}"
        )])
    })
}

fn outcomes(sent: &[Sent], sink: &Sink) -> TraceOutcomes {
    let share = |text: &str| text.parse::<Probability>().unwrap();
    TraceOutcomes::of(sent, &sink.received(), share("10%"), share("20%"))
}

async fn start_tiers(program: &Path, collector: &str) -> Tiers {
    Tiers::start(program, stack(collector), &rules()[0], NOWHERE).await
}

fn addresses(tiers: &Tiers) -> Vec<SocketAddr> {
    let gather = tiers.gather.iter();
    gather.map(|gather| gather.addresses.grpc).collect()
}

/// The time over which a trace's spans are sent, in milliseconds.
const SPREAD_MILLISECONDS: u64 = 1000;

/// The waits of the tests. A delivery delay has the same effect as a longer spread, so most of the
/// gathering time is left for a machine that is busy with other tests.
const WAITS: &str = "gatherWait: 6s, decisionWait: 8s";
const GATHER_WAIT: Duration = Duration::from_secs(6);

fn load(traces_per_second: u32, seconds: u64, spread_in_milliseconds: u64) -> Load {
    Load {
        traces_per_second,
        lasts: Duration::from_secs(seconds),
        spread: Duration::from_millis(spread_in_milliseconds),
    }
}

/// Changes the rules this many times, one rollout after the other, while load is sent.
async fn under_changes(mut tiers: Tiers, load: Load, changes: usize) -> TraceOutcomes {
    let to = addresses(&tiers);
    let sending = tokio::spawn(async move { send(load, &to).await });
    for number in 1..=changes {
        tiers.change_rules(&rules()[number % 2]).await;
    }
    let sent = sending.await.unwrap();
    finished(tiers, &sent).await
}

/// Waits until the tiers have forwarded all spans, and counts the outcomes.
async fn finished(tiers: Tiers, sent: &[Sent]) -> TraceOutcomes {
    // Spans that are being gathered are lost when the program ends: in a pod, `preStop` waits.
    tokio::time::sleep(GATHER_WAIT + Duration::from_secs(2)).await;
    outcomes(sent, &tiers.stop().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_change_keeps_traces_complete() {
    let Some(program) = super::program("rule_change_keeps_traces_complete") else {
        return;
    };
    let outcomes = under_changes(
        start_tiers(&program, &format!("{{{WAITS}}}")).await,
        load(100, 30, SPREAD_MILLISECONDS),
        2,
    )
    .await;
    assert_eq!(outcomes, outcomes.without_loss());
    assert!(
        outcomes.traces >= 2000 && outcomes.to_be_kept > 100,
        "{outcomes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gatherers_decide_on_all_spans() {
    let Some(program) = super::program("two_gatherers_decide_on_all_spans") else {
        return;
    };
    let tiers = start_tiers(&program, &format!("{{replicas: 2, {WAITS}}}")).await;
    let outcomes = under_changes(tiers, load(100, 12, SPREAD_MILLISECONDS), 1).await;
    assert_eq!(outcomes, outcomes.without_loss());
    assert!(outcomes.to_be_kept > 60, "{outcomes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_jaeger_is_reported_without_loss() {
    let Some(program) = super::program("unavailable_jaeger_is_reported_without_loss") else {
        return;
    };
    let tiers = start_tiers(&program, "{}").await;
    assert_eq!(exporter_health(&tiers).await, ExporterHealth::Working);
    tiers.sink.refuse(true);
    let sent = send(load(50, 4, 100), &addresses(&tiers)).await;
    eventually(
        "the exporter fails",
        Duration::from_secs(30),
        async || match exporter_health(&tiers).await {
            ExporterHealth::Failing => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    assert_eq!(tiers.sink.spans(), 0);
    tiers.sink.refuse(false);
    eventually(
        "the exporter works",
        Duration::from_secs(30),
        async || match (exporter_health(&tiers).await, tiers.sink.spans()) {
            (ExporterHealth::Working, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    let outcomes = finished(tiers, &sent).await;
    assert_eq!(outcomes, outcomes.without_loss());
}

/// The health of the exporter, as the operator determines it.
async fn exporter_health(tiers: &Tiers) -> ExporterHealth {
    let earlier = ExporterReading::from_metrics(&tiers.decide.metrics().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    ExporterReading::from_metrics(&tiers.decide.metrics().await).health_since(&earlier)
}

/// Prints the figures of docs/tail-rules.md: `-- --ignored --nocapture --test-threads 1 limits_of`.
#[rstest]
#[case::six_changes("{}", 60, 1500, 6)]
#[case::six_changes_with_two_gathering_pods("{replicas: 2}", 60, 1500, 6)]
#[case::traces_of_three_seconds("{}", 30, 3000, 0)]
#[case::traces_of_three_seconds_and_six_changes("{}", 60, 3000, 6)]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn limits_of_changes(
    #[case] collector: &str,
    #[case] seconds: u64,
    #[case] spread: u64,
    #[case] changes: usize,
) {
    let Some(program) = super::program("limits_of_changes") else {
        return;
    };
    let tiers = start_tiers(&program, collector).await;
    let outcomes = under_changes(tiers, load(200, seconds, spread), changes).await;
    eprintln!("{changes} changes, traces of {spread} ms, {collector}: {outcomes}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn limits_of_a_kill() {
    let Some(program) = super::program("limits_of_a_kill") else {
        return;
    };
    let mut tiers = start_tiers(&program, "{}").await;
    let to = addresses(&tiers);
    let sending = tokio::spawn(async move { send(load(200, 30, 1500), &to).await });
    tokio::time::sleep(Duration::from_secs(15)).await;
    tiers.kill_decide(&rules()[0]).await;
    let sent = sending.await.unwrap();
    let killed = finished(tiers, &sent).await;
    eprintln!("the deciding pod killed: {killed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn limits_of_an_outage() {
    let Some(program) = super::program("limits_of_an_outage") else {
        return;
    };
    let mut tiers = start_tiers(&program, "{}").await;
    tiers.sink.refuse(true);
    let sent = send(load(200, 10, 1500), &addresses(&tiers)).await;
    tiers.change_rules(&rules()[1]).await;
    tiers.sink.refuse(false);
    let unavailable = finished(tiers, &sent).await;
    eprintln!("Jaeger unavailable during a change that was not held back: {unavailable}");
}
