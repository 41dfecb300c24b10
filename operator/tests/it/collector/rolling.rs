//! Changes of rules, deaths and outages under load, by count.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use rstest::rstest;
use spoor_operator::stacks::collector::exporter::{ExporterHealth, ExporterReading};
use spoor_policy::{Probability, TailTable};

use super::{
    load::{CollectorAction, Load, Sent, send},
    managed,
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

fn fate(sent: &[Sent], sink: &Sink) -> CollectorAction {
    let share = |text: &str| text.parse::<Probability>().unwrap();
    CollectorAction::of(sent, &sink.received(), share("10%"), share("20%"))
}

async fn started(program: &Path, collector: &str) -> Tiers {
    Tiers::start(program, stack(collector), &rules()[0], NOWHERE).await
}

fn addresses(tiers: &Tiers) -> Vec<SocketAddr> {
    let gather = tiers.gather.iter();
    gather.map(|gather| gather.listening.grpc).collect()
}

/// Milliseconds over which a trace's spans come. Delay counts as width: half of the gathering time
/// is left for a machine that is busy with other tests.
const SPREAD: u64 = 1000;

fn load(traces_per_second: u32, seconds: u64, spread_in_milliseconds: u64) -> Load {
    Load {
        traces_per_second,
        lasts: Duration::from_secs(seconds),
        spread: Duration::from_millis(spread_in_milliseconds),
    }
}

/// Changes rules as often, one rollout after the other, while load comes.
async fn under_changes(mut tiers: Tiers, load: Load, changes: usize) -> CollectorAction {
    let to = addresses(&tiers);
    let sending = tokio::spawn(async move { send(load, &to).await });
    for number in 1..=changes {
        tiers.change_rules(&rules()[number % 2]).await;
    }
    let sent = sending.await.unwrap();
    finished(tiers, &sent).await
}

/// Lets all that was sent through, and counts.
async fn finished(tiers: Tiers, sent: &[Sent]) -> CollectorAction {
    // What is being gathered is lost when the program ends: in a pod, `preStop` waits.
    tokio::time::sleep(managed(&stack("{}")).gather_wait + Duration::from_secs(2)).await;
    fate(sent, &tiers.stop().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_change_keeps_traces_whole() {
    let Some(program) = super::program("rule_change_keeps_traces_whole") else {
        return;
    };
    let fate = under_changes(started(&program, "{}").await, load(100, 20, SPREAD), 2).await;
    assert_eq!(fate, fate.without_harm());
    assert!(fate.traces >= 2000 && fate.to_be_kept > 100, "{fate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gatherers_decide_on_all_spans() {
    let Some(program) = super::program("two_gatherers_decide_on_all_spans") else {
        return;
    };
    let tiers = started(&program, "{replicas: 2}").await;
    let fate = under_changes(tiers, load(100, 12, SPREAD), 1).await;
    assert_eq!(fate, fate.without_harm());
    assert!(fate.to_be_kept > 60, "{fate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_jaeger_shows_and_loses_nothing() {
    let Some(program) = super::program("absent_jaeger_shows_and_loses_nothing") else {
        return;
    };
    let tiers = started(&program, "{}").await;
    assert_eq!(exporter_health(&tiers).await, ExporterHealth::Working);
    tiers.sink.refuse(true);
    let sent = send(load(50, 4, 100), &addresses(&tiers)).await;
    eventually(
        "it fails",
        Duration::from_secs(30),
        async || match exporter_health(&tiers).await {
            ExporterHealth::Failing => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    assert_eq!(tiers.sink.spans(), 0);
    tiers.sink.refuse(false);
    eventually("it works", Duration::from_secs(30), async || {
        match (exporter_health(&tiers).await, tiers.sink.spans()) {
            (ExporterHealth::Working, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let fate = finished(tiers, &sent).await;
    assert_eq!(fate, fate.without_harm());
}

/// The health of the exporter, as the operator determines it.
async fn exporter_health(tiers: &Tiers) -> ExporterHealth {
    let earlier = ExporterReading::from_metrics(&tiers.decide.metrics().await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    ExporterReading::from_metrics(&tiers.decide.metrics().await).since(&earlier)
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
    let tiers = started(&program, collector).await;
    let fate = under_changes(tiers, load(200, seconds, spread), changes).await;
    eprintln!("{changes} changes, traces of {spread} ms, {collector}: {fate}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of a minute"]
async fn limits_of_a_kill() {
    let Some(program) = super::program("limits_of_a_kill") else {
        return;
    };
    let mut tiers = started(&program, "{}").await;
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
    let mut tiers = started(&program, "{}").await;
    tiers.sink.refuse(true);
    let sent = send(load(200, 10, 1500), &addresses(&tiers)).await;
    tiers.change_rules(&rules()[1]).await;
    tiers.sink.refuse(false);
    let away = finished(tiers, &sent).await;
    eprintln!("Jaeger away during a change that nobody held back: {away}");
}
