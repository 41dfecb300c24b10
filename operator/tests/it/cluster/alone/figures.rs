//! Measurements of a stack on the cluster, printed as tables in Markdown. `docs/tail-rules.md` has
//! the figures, and the command.
//!
//! No time and no size is asserted, only what must be true. The measurements take some minutes
//! each, so they run only with `--ignored`. Times are measured 20 times by default, and 100 times
//! with `SPOOR_FULL_LENGTH=1`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::{
    comparison::{ERRORS, RATES},
    edge, jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT, STACK},
    load, objects, pods, policies,
    sampler::{self, SERVICES, SHORT},
    scaling, stack,
};
use crate::{apiserver::eventually, chart::without_applications_but};

const POLICY: &str = "figures";
/// The number of samplers that a change of rules has to reach.
const SAMPLERS: u32 = 3;
/// The traces per second during changes of rules, as in other tests.
const LIGHT_LOAD: u32 = 60;
/// The pause between two changes of rules, longer than that between two writes of a status.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause between two readings of a sampler's rules.
const POLL_PAUSE: Duration = Duration::from_millis(5);
/// The duration of a trace that the test sends.
const TRACE_DURATION: Duration = Duration::from_millis(10);
/// The IDs of the spans of that trace.
const ROOT: &str = "a000000000000001";
const CHILD: &str = "a000000000000002";
/// The rate in traces per second, and the duration, of the load before memory is read.
const MEMORY_LOAD: u32 = 100;
const LOAD_DURATION: Duration = Duration::from_secs(60);
/// The time without load before memory is read.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// The age that a figure of the kubelet may have.
const KUBELET_INTERVAL: Duration = Duration::from_secs(15);

/// Measures the time from sending a patch of a tail rule until the last of three samplers decides
/// by it, under light load.
///
/// The patch is sent by this process, without kubectl. The end is when the test has read the new
/// digest in the metrics of the last sampler, which change at the same moment as its rules. So the
/// figure includes the requests to the API server, the read through its proxy, and the pause
/// between two reads, and is an upper bound by these. The status would be less exact: it says
/// that every sampler has acknowledged the rules, but two writes of it are at least 250 ms apart.
/// The time until `Programmed` is `True` is measured in addition.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn tail_rule_change_latency() {
    let Some(lab) = Lab::with_sampler_alone("figures, changes of rules").await else {
        return;
    };
    sampler::apply_rules(&lab, POLICY).await;
    stack::delete_forget_annotation(&lab).await;
    stack::patch(&lab, &json!({"sampler": {"replicas": SAMPLERS}})).await;
    scaling::wait_until_divided(&lab, SAMPLERS).await;
    pods::wait_until_ready(&lab).await;
    let names = (0..SAMPLERS).map(|ordinal| format!("{STACK}-sampler-{ordinal}"));
    let samplers: Vec<String> = names.collect();

    let (lasts, spread) = (load::UNTIL_STOPPED, SHORT.spread);
    let sender = load::traces(&lab, &SERVICES, LIGHT_LOAD, lasts, spread).await;
    let (mut in_force, mut in_status) = (Vec::new(), Vec::new());
    for rate in RATES.into_iter().rev().cycle().take(repetitions()) {
        sleep(PAUSE).await;
        let (sent, took) = change_rules(&lab, &samplers, rate).await;
        policies::wait_for(&lab, POLICY, "Programmed", "True").await;
        in_status.push(sent.elapsed());
        in_force.push(took);
    }
    sender.stop().await.exported().await;

    let deciding = "from a patched tail rule to the last of three samplers deciding by it";
    let programmed = "the same, until the policy's status says so";
    print_times(&lab, &[(deciding, in_force), (programmed, in_status)]);
}

/// Changes `otherwise`. Returns when the patch was sent, and the time from then until the last
/// sampler decides by the new rules, which must be the same ones on all samplers.
async fn change_rules(lab: &Lab, samplers: &[String], rate: &str) -> (Instant, Duration) {
    let former = rules_digest(lab, &samplers[0]).await.unwrap();
    let patch = json!({"spec": sampler::otherwise(rate)});
    let sent = Instant::now();
    // Concurrently, since samplers may have the rules before the response to the patch arrives.
    let changes = samplers
        .iter()
        .map(|pod| wait_for_change(lab, pod, &former, sent));
    let ((), changed) = tokio::join!(
        objects::patch(lab, "SamplingPolicy", POLICY, &patch),
        join_all(changes)
    );
    let digests: BTreeSet<&str> = changed.iter().map(|(_, digest)| digest.as_str()).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    let times = changed.iter().map(|(after, _)| *after);
    (sent, times.max().unwrap())
}

/// Waits until a sampler has other rules than the former ones. Returns the time since `since`, and
/// the digest of the new rules.
async fn wait_for_change(lab: &Lab, pod: &str, former: &str, since: Instant) -> (Duration, String) {
    loop {
        let digest = rules_digest(lab, pod).await;
        let elapsed = since.elapsed();
        match digest {
            Ok(digest) if digest != former => return (elapsed, digest),
            unchanged => assert!(elapsed < ROLLOUT_TIMEOUT, "{pod}: {unchanged:?}"),
        }
        sleep(POLL_PAUSE).await;
    }
}

/// Reads the digest of the rules by which a sampler decides.
async fn rules_digest(lab: &Lab, pod: &str) -> Result<String, String> {
    let metrics = sampler::read_metrics(lab, pod).await?;
    let digest = metrics.lines().find_map(|line| {
        let labels = line.strip_prefix("spoor_sampler_rules{")?;
        let (_, digest) = labels.split_once("digest=\"")?;
        let (digest, _) = digest.split_once('"')?;
        Some(digest.to_owned())
    });
    digest.ok_or(metrics)
}

/// Measures the time from the end of a trace's last span until Jaeger returns the whole trace,
/// without tail rules, and for traces that a rule keeps for their error, after `decisionWait`.
///
/// The test itself sends one trace at a time through the API server's proxy, in one request to
/// the Collector, and queries Jaeger for its ID through the same proxy, with a pause of 20 ms. The
/// figure includes all of this, and nothing is subtracted.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn trace_visibility_latency() {
    let Some(lab) = Lab::with_sampler_alone("figures, visible traces").await else {
        return;
    };
    let base = jaeger::base_path(&lab).await;
    let without_rules = visible_after(&lab, &base).await;
    lab.log("measured without tail rules");

    let since = SystemTime::now();
    sampler::apply_rules(&lab, POLICY).await;
    let kept = visible_after(&lab, &base).await;
    let found = jaeger::traces(&lab, SERVICES[0], since).await;
    let rule = format!("{POLICY}/{ERRORS}");
    for id in kept.keys() {
        let trace = &found[id];
        assert_eq!((trace.spans, trace.distinct), (2, 2), "{id}: {trace:?}");
        assert_eq!(trace.rule.as_ref(), Some(&rule), "{id}: {trace:?}");
    }

    let without = "from the end of a trace's last span until it is in Jaeger, without tail rules";
    let with = "the same for a trace that a rule keeps, decisionWait included";
    let times =
        |visible: BTreeMap<String, Duration>| -> Vec<Duration> { visible.into_values().collect() };
    print_times(
        &lab,
        &[(without, times(without_rules)), (with, times(kept))],
    );
}

/// Sends traces one after the other. Returns the time after which each was visible, by ID.
async fn visible_after(lab: &Lab, base: &str) -> BTreeMap<String, Duration> {
    let collector = format!("{STACK}-otlp:4318");
    let mut visible = BTreeMap::new();
    for _ in 0..repetitions() {
        let id = format!("{:032x}", rand::random::<u128>());
        let trace = trace_ending_now(lab, &id);
        let ended = Instant::now();
        let response = edge::post(lab, &collector, "/v1/traces", Some(&trace)).await;
        assert!(response.status.is_success(), "{response:?}");
        wait_until_visible(lab, base, &id).await;
        visible.insert(id, ended.elapsed());
    }
    visible
}

/// Waits until Jaeger returns both spans of a trace.
async fn wait_until_visible(lab: &Lab, base: &str, id: &str) {
    let jaeger = format!("{STACK}-query:16686");
    let path = format!("{base}/api/traces/{id}");
    eventually("the trace in Jaeger", ROLLOUT_TIMEOUT, || async {
        let response = edge::get(lab, &jaeger, &path).await;
        if !response.status.is_success() {
            return Err(response.text);
        }
        match response.json()["data"][0]["spans"].as_array() {
            Some(spans) if spans.len() == 2 => Ok(()),
            _ => Err(response.text),
        }
    })
    .await;
}

/// An OTLP request with a trace of two spans with an error, which end now.
fn trace_ending_now(lab: &Lab, id: &str) -> Value {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = end - TRACE_DURATION;
    let root = json!({
        "traceId": id,
        "spanId": ROOT,
        "name": "measured",
        "kind": 2,
        "startTimeUnixNano": start.as_nanos().to_string(),
        "endTimeUnixNano": end.as_nanos().to_string(),
        "status": {"code": 2},
    });
    let mut child = root.clone();
    child["spanId"] = json!(CHILD);
    child["parentSpanId"] = json!(ROOT);
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let service = attribute("service.name", SERVICES[0]);
    let namespace = attribute("service.namespace", lab.namespace);
    json!({
        "resourceSpans": [{
            "resource": {"attributes": [service, namespace]},
            "scopeSpans": [{"spans": [root, child]}],
        }],
    })
}

/// Measures the memory of the default stack with each engine: of its pods' containers (working
/// set), as the kubelet reports it, without the operator.
///
/// Each engine gets a new installation, whose Jaeger has no traces yet. The rules keep errors and
/// 10 % of the rest. Memory is read after a minute without load, and after a minute of load that
/// continues meanwhile, so that traces wait.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of minutes"]
async fn default_stack_memory() {
    let Some(lab) = Lab::alone("figures, memory").await else {
        return;
    };
    let mut table = format!(
        "| engine | part | idle | after a minute of {MEMORY_LOAD} traces/s |\n|---|---|---|---|\n"
    );
    let engines = [
        ("Spoor", ["collector", "jaeger", "sampler"]),
        ("OpenTelemetry", ["decide", "gather", "jaeger"]),
    ];
    for (engine, parts) in engines {
        lab.empty_cluster().await;
        lab.install(&default_stack(&lab, engine)).await;
        sampler::apply_rules(&lab, POLICY).await;
        lab.wait_until_settled().await;
        sleep(IDLE_TIME).await;
        let idle = memory_by_part(&lab).await;
        let (lasts, spread) = (load::UNTIL_STOPPED, SHORT.spread);
        let sender = load::traces(&lab, &SERVICES, MEMORY_LOAD, lasts, spread).await;
        sleep(LOAD_DURATION + KUBELET_INTERVAL).await;
        let loaded = memory_by_part(&lab).await;
        sender.stop().await.exported().await;

        for memory in [&idle, &loaded] {
            assert!(memory.keys().eq(parts), "{engine}: {memory:?}");
            assert!(memory.values().all(|bytes| *bytes > 0), "{memory:?}");
        }
        let row = |part: &str, idle: u64, loaded: u64| {
            let [idle, loaded] = [idle, loaded].map(megabytes);
            format!("| {engine} | {part} | {idle} MB | {loaded} MB |\n")
        };
        for part in parts {
            table += &row(part, idle[part], loaded[part]);
        }
        table += &row("all", idle.values().sum(), loaded.values().sum());
    }
    lab.log(format_args!("results:\n{table}"));
    // Other tests expect another installation in this namespace.
    lab.empty_cluster().await;
}

/// The chart's values for a stack with defaults but this engine, without applications.
fn default_stack(lab: &Lab, engine: &str) -> Vec<String> {
    let own = [
        format!("operator.namespaces={{{}}}", lab.namespace),
        format!("stack.spec.sampler.engine={engine}"),
    ];
    [without_applications_but(""), own.to_vec()].concat()
}

/// Reads the memory of the stack's pods in bytes, added up for each part.
async fn memory_by_part(lab: &Lab) -> BTreeMap<String, u64> {
    let prefix = format!("{STACK}-");
    let mut memory: BTreeMap<String, u64> = BTreeMap::new();
    for (pod, bytes) in pods::memory(lab).await {
        let pod = pod.trim_matches('"');
        if let Some((part, _)) = pod.strip_prefix(&prefix).and_then(|it| it.split_once('-')) {
            *memory.entry(part.to_owned()).or_default() += bytes;
        }
    }
    memory
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / 1e6)
}

/// The number of changes, and of traces of each kind.
fn repetitions() -> usize {
    match std::env::var("SPOOR_FULL_LENGTH").as_deref() {
        Ok("1") => 100,
        _ => 20,
    }
}

/// Prints measured times as a table.
fn print_times(lab: &Lab, measured: &[(&str, Vec<Duration>)]) {
    let mut table = "| what | times | p50 | p99 | worst |\n|---|---|---|---|---|\n".to_owned();
    for (what, times) in measured {
        let mut micros = Histogram::<u64>::new(3).unwrap();
        for time in times {
            let time = u64::try_from(time.as_micros()).unwrap();
            micros.record(time).unwrap();
        }
        let [p50, p99, worst] = [
            micros.value_at_quantile(0.5),
            micros.value_at_quantile(0.99),
            micros.max(),
        ]
        .map(|micros| format!("{:.0} ms", micros as f64 / 1e3));
        let count = times.len();
        writeln!(table, "| {what} | {count} | {p50} | {p99} | {worst} |").unwrap();
    }
    lab.log(format_args!("results:\n{table}"));
}
