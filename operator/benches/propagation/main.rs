//! The time from `kubectl patch` of a rate until every instance has acknowledged it: a real API
//! server, the operator as a process of its own, and instances with real tokens over real TLS.
//!
//! `KUBEBUILDER_ASSETS=… cargo bench -p spoor-operator --bench propagation -- --subscribers 3,1000`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/it/apiserver/mod.rs"]
mod apiserver;
mod instances;
#[path = "../../tests/it/role/mod.rs"]
mod role;
#[path = "../../tests/it/subscriber.rs"]
mod subscriber;

use std::{env, time::Duration};

use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};

use apiserver::eventually;
use instances::Instances;
use role::{
    replica::{Release, Replica},
    sampling_policy::{SamplingPolicy, condition},
};

const TIMEOUT: Duration = Duration::from_secs(120);

/// The pause between rounds, so that they do not overlap.
const ROUND_PAUSE: Duration = Duration::from_millis(200);

fn main() {
    raise_file_limit();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.and_then(|at| arguments.get(at + 1));
        value.map_or(default, String::as_str).to_owned()
    };
    let rounds = option("--rounds", "30").parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("from the patch to            every instance's acknowledgement       its status");
    println!("subscribers  rounds  joined       p50       p99       max    p50 (Converged)");
    for count in option("--subscribers", "3,1000").split(',') {
        runtime.block_on(measure(count.parse().unwrap(), rounds));
    }
}

async fn measure(count: usize, rounds: u32) {
    let Some(server) = apiserver::private("propagation").await else {
        return;
    };
    let namespace = server.namespace("spoor-bench").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "50%").await;
    let release = Release::new(&namespace, "policies").await;
    let replica = release.start("policies-0");
    eventually("the operator is ready", TIMEOUT, async || {
        replica.check_ready().await
    })
    .await;
    let start = Instant::now();
    let instances = Instances::connect(&namespace, &release, count).await;
    let joined = start.elapsed();
    wait_for_acknowledgements(&replica, count as u64).await;

    let mut all = Histogram::<u64>::new(3).unwrap();
    let mut status = Histogram::<u64>::new(3).unwrap();
    for round in 1..=rounds {
        sleep(ROUND_PAUSE).await;
        let before = acknowledgements(&replica).await;
        let start = Instant::now();
        policy.patch(&format!("{round}%")).await;
        wait_for_acknowledgements(&replica, before + count as u64).await;
        all.record(millis(start.elapsed())).unwrap();
        policy
            .wait_for("Converged", |status| {
                let strategy = &status["effective"][0]["strategy"];
                condition(status, "Converged")["status"] == "True"
                    && *strategy == format!("{round}%")
            })
            .await;
        status.record(millis(start.elapsed())).unwrap();
    }
    println!(
        "{count:>11}  {rounds:>6}  {:>4.1} s  {:>5} ms  {:>5} ms  {:>5} ms    {:>5} ms",
        joined.as_secs_f64(),
        all.value_at_quantile(0.5),
        all.value_at_quantile(0.99),
        all.max(),
        status.value_at_quantile(0.5),
    );
    drop(instances);
}

/// Waits until the operator has received this many acknowledgements.
async fn wait_for_acknowledgements(replica: &Replica, count: u64) {
    let start = Instant::now();
    loop {
        let now = acknowledgements(replica).await;
        if now >= count {
            return;
        }
        assert!(start.elapsed() < TIMEOUT, "{now} of {count} acknowledged");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn acknowledgements(replica: &Replica) -> u64 {
    let url = format!("http://{}/metrics", replica.ops);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let name = "spoor_control_acknowledgements_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Raises the limit on open files: this process holds one end of every connection.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
