//! Spoor's sampler: changes of rules under load lose, split and repeat no trace, each trace that is
//! kept names its rule, and the status counts what is in Jaeger.
//!
//! The load is short by default. With `SPOOR_FULL_LENGTH=1` it is 300 traces per second for ten
//! minutes, with 60 changes.

use std::time::{Duration, SystemTime};

use http::Request;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    comparison::{self, Comparison, ERRORS, RATES},
    jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT},
    load::{self, Generated, Sender, Shape},
    pods, policies,
};
use crate::apiserver::eventually;

/// The services of the traces: each one starts at either and has spans of both, which their
/// exporters send in different requests.
pub const SERVICES: [&str; 2] = ["sampled-shop", "sampled-till"];
/// The labels of the samplers' pods.
pub const PODS: &str = "app.kubernetes.io/name=sampler";
/// Traces of a second with an error in any span.
pub const SHORT: Shape = Shape {
    spread: Duration::from_secs(1),
    error_in: "any-span",
};
/// Traces that take longer than the decision wait, and whose error is known only at their end.
const WIDE: Shape = Shape {
    spread: Duration::from_secs(12),
    error_in: "last-span",
};

/// The load of a test.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// The number of senders, and the traces per second of each.
    pub senders: usize,
    pub rate: u32,
    /// The time of load during changes of rules, and their number.
    pub lasts: Duration,
    pub changes: u32,
    /// The number of times that a fault is injected, and the time for which one makes Jaeger or the
    /// API server unavailable.
    pub rounds: usize,
    pub outage: Duration,
}

impl Length {
    /// The full length with `SPOOR_FULL_LENGTH=1`, else a short one.
    pub fn from_env() -> Self {
        match std::env::var("SPOOR_FULL_LENGTH").as_deref() {
            Ok("1") => Self {
                senders: 3,
                rate: 100,
                lasts: Duration::from_secs(600),
                changes: 60,
                rounds: 10,
                outage: Duration::from_secs(60),
            },
            _ => Self {
                senders: 1,
                rate: 60,
                lasts: Duration::from_secs(24),
                changes: 6,
                rounds: 1,
                outage: Duration::from_secs(15),
            },
        }
    }

    /// Starts senders of traces of this shape.
    pub async fn start<'lab>(
        &self,
        lab: &'lab Lab,
        shape: Shape,
        lasts: Duration,
    ) -> Vec<Sender<'lab>> {
        let mut senders = Vec::new();
        for _ in 0..self.senders {
            let sender = load::identified_traces(lab, &SERVICES, self.rate, lasts, shape).await;
            senders.push(sender);
        }
        senders
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_changes_lose_split_and_repeat_nothing() {
    let Some(lab) = Lab::with_sampler("sampler").await else {
        return;
    };
    decide_while_rules_change(&lab, "changing", SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_at_the_end_of_wide_traces_are_kept() {
    let Some(lab) = Lab::with_sampler("sampler, wide traces").await else {
        return;
    };
    decide_while_rules_change(&lab, "wide", WIDE).await;
}

async fn decide_while_rules_change(lab: &Lab, policy: &str, shape: Shape) {
    let length = Length::from_env();
    apply_rules(lab, policy).await;
    let since = SystemTime::now();
    let senders = length.start(lab, shape, length.lasts).await;
    change_rules(lab, policy, length).await;
    let sent = exported(senders).await;
    wait_until_empty(lab).await;

    let found = jaeger::all_traces(lab, SERVICES[0], since).await;
    let compared = Comparison::new(&sent, &found, policy);
    lab.log(compared);
    compared.assert_clean();

    let errors = comparison::by_rule(&found)[format!("{policy}/{ERRORS}").as_str()];
    let counts = (compared.sent as u64, compared.found as u64, errors);
    let expected = format!("a status with {counts:?} traces decided, kept, and kept by {ERRORS}");
    let object = policies::until(lab, policy, &expected, |object| {
        let tail = &object["status"]["tail"];
        let by_rule = json!([{"name": ERRORS, "kept": counts.2}]);
        tail["decided"] == counts.0 && tail["kept"] == counts.1 && tail["byRule"] == by_rule
    })
    .await;
    lab.log(&object["status"]["tail"]);
}

/// Applies a policy that keeps errors, and the lower share of the rest, and waits until the sampler
/// decides by it.
pub async fn apply_rules(lab: &Lab, policy: &str) {
    let spec = json!({
        "targets": SERVICES.map(|service| json!({"service": service})),
        "tail": {"keep": [{"name": ERRORS, "error": {}}], "otherwise": RATES[0]},
    });
    policies::apply(lab, policy, &spec).await;
    policies::wait_for(lab, policy, "Programmed", "True").await;
}

/// Changes `otherwise` at equal intervals during the load, and waits each time until the sampler
/// decides by the new rate.
async fn change_rules(lab: &Lab, policy: &str, length: Length) {
    let interval = length.lasts / length.changes;
    // In the middle of the intervals, so that the load is running at the last change, too.
    let mut changes = tokio::time::interval_at(Instant::now() + interval / 2, interval);
    let mut slowest = Duration::ZERO;
    for rate in RATES
        .into_iter()
        .rev()
        .cycle()
        .take(length.changes as usize)
    {
        changes.tick().await;
        let changed = Instant::now();
        policies::patch(lab, policy, &otherwise(rate)).await;
        policies::wait_for(lab, policy, "Programmed", "True").await;
        slowest = slowest.max(changed.elapsed());
    }
    lab.log(format_args!(
        "{} changes of rules, each in force and in the status at most {} ms after kubectl was started",
        length.changes,
        slowest.as_millis()
    ));
}

/// The part of a policy with this rate of `otherwise`.
pub fn otherwise(rate: &str) -> Value {
    json!({"tail": {"otherwise": rate}})
}

/// Stops the senders, and waits until they have exported all spans.
pub async fn stop(senders: Vec<Sender<'_>>) -> Vec<Generated> {
    let mut stopped = Vec::new();
    for sender in senders {
        stopped.push(sender.stop().await);
    }
    exported(stopped).await
}

/// Waits until the senders have exported all spans.
pub async fn exported(senders: Vec<Sender<'_>>) -> Vec<Generated> {
    let mut sent = Vec::new();
    for sender in senders {
        sent.push(sender.exported().await);
    }
    sent
}

/// Waits until the samplers have decided on all traces and sent those that they keep.
pub async fn wait_until_empty(lab: &Lab) {
    eventually("samplers without spans", ROLLOUT_TIMEOUT, || async {
        // Twice, since spans may move to a sampler that has been read already.
        let held = [
            read_total(lab, "undelivered").await?,
            read_total(lab, "undelivered").await?,
        ];
        if held == [0; 2] {
            Ok(())
        } else {
            Err(format!("undelivered: {held:?}"))
        }
    })
    .await;
}

/// Reads one of the samplers' metrics, `spoor_sampler_NAME`, added up over all samplers.
pub async fn metric(lab: &Lab, name: &str) -> u64 {
    eventually(name, ROLLOUT_TIMEOUT, || read_total(lab, name)).await
}

async fn read_total(lab: &Lab, name: &str) -> Result<u64, String> {
    let pods = pods::list(lab, PODS).await;
    if pods.is_empty() {
        return Err("no sampler".to_owned());
    }
    let prefix = format!("spoor_sampler_{name} ");
    let mut total = 0;
    for pod in pods {
        let pod = pod.metadata.name.unwrap();
        let metrics = read_metrics(lab, &pod).await?;
        let mut lines = metrics.lines();
        let value = lines.find_map(|line| line.strip_prefix(prefix.as_str())?.parse::<u64>().ok());
        total += value.ok_or_else(|| metrics.clone())?;
    }
    Ok(total)
}

/// Reads the metrics of one sampler by the name of its pod.
pub async fn read_metrics(lab: &Lab, pod: &str) -> Result<String, String> {
    let namespace = lab.namespace;
    let path = format!("/api/v1/namespaces/{namespace}/pods/http:{pod}:9464/proxy/metrics");
    let request = Request::get(path).body(Vec::new()).unwrap();
    let response = lab.client.request_text(request).await;
    response.map_err(|error| error.to_string())
}
