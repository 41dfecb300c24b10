//! The memory of each role with 500 policies, 50 services and 50 pods: the real program on
//! a real API server.
//!
//! `KUBEBUILDER_ASSETS=… cargo bench -p spoor-operator --bench memory`
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/it/apiserver/mod.rs"]
mod apiserver;
#[path = "../../tests/it/role/mod.rs"]
mod role;
#[path = "../../tests/it/subscriber.rs"]
mod subscriber;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::time::{Instant, sleep};

use apiserver::{Namespace, eventually};
use role::{
    replica::{Release, Replica},
    sampling_policy::SamplingPolicy,
};
use subscriber::{Claim, Subscriber};

const POLICY_COUNT: usize = 500;
const SERVICE_COUNT: usize = 50;
const POD_COUNT: usize = 50;
const MAX_CONCURRENT_CALLS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(60);

/// The time for which memory is measured once everything exists.
const MEASUREMENT_TIME: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let Some(server) = apiserver::private("memory").await else {
        return;
    };
    let namespace = server.namespace("spoor-bench").await;
    println!(
        "resident memory with {POLICY_COUNT} policies, {SERVICE_COUNT} services, {POD_COUNT} pods"
    );
    stream::iter(0..POLICY_COUNT)
        .for_each_concurrent(MAX_CONCURRENT_CALLS, |number| policy(&namespace, number))
        .await;
    let stack = json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "TracingStack",
        "metadata": {"name": "tracing"},
        "spec": {},
    });
    namespace.apply(stack).await.unwrap();

    let release = Release::new(&namespace, "policies").await;
    let replica = start(&release).await;
    let streams: Vec<Subscriber> = stream::iter(0..POD_COUNT)
        .map(|number| join(&namespace, &release, number))
        .buffer_unordered(MAX_CONCURRENT_CALLS)
        .collect()
        .await;
    let last = SamplingPolicy::named(&namespace, &format!("p-{}", POLICY_COUNT - 1));
    last.wait_for_condition("Accepted").await;
    report("policies", &replica).await;
    drop(streams);

    let release = Release::new(&namespace, "stacks").await;
    let replica = start(&release).await;
    report("stacks", &replica).await;
}

/// Applies a policy for one operation. The first one for each service is for all of its operations,
/// and has tail rules.
async fn policy(namespace: &Namespace<'_>, number: usize) {
    let service = format!("service-{}", number % SERVICE_COUNT);
    let operation = format!("GET /{}", number / SERVICE_COUNT);
    let mut spec = json!({
        "targets": [{"service": service, "operations": [operation]}],
        "head": {"probability": format!("{}%", 1 + number % 100)},
    });
    if number < SERVICE_COUNT {
        spec["targets"] = json!([{"service": service}]);
        spec["tail"] = json!({"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"});
    }
    SamplingPolicy::apply_spec(namespace, &format!("p-{number}"), spec).await;
}

async fn join(namespace: &Namespace<'_>, release: &Release, number: usize) -> Subscriber {
    let (name, service) = (
        format!("pod-{number}"),
        format!("service-{}", number % SERVICE_COUNT),
    );
    let labels = [("spoor.dev/service", service.as_str())];
    let ip = format!("10.1.0.{}", 1 + number);
    let pod = namespace.ready_pod(&name, &labels, &ip).await;
    let token = namespace.pod_token(&pod, "spoor.dev").await;
    let claim = Claim {
        token: Some(&token),
        service: &service,
        instance: &name,
    };
    let (subscriber, plan) = eventually("a stream", TIMEOUT, async || {
        let ca = &release.certificate.ca_pem;
        let stream = Subscriber::subscribe(release.endpoints.stream, ca, claim.clone()).await;
        stream.map_err(|status| format!("{status:?}"))
    })
    .await;
    subscriber.acknowledge(&plan).await;
    subscriber.report(&plan, 1_000, 500).await;
    subscriber
}

async fn start(release: &Release) -> Replica {
    let replica = release.start("replica-0");
    eventually("role is ready", TIMEOUT, async || {
        replica.check_ready().await
    })
    .await;
    replica
}

/// Prints the memory at the end of the measurement, and the largest value read during it.
async fn report(role: &str, replica: &Replica) {
    let start = Instant::now();
    let mut most = 0;
    while start.elapsed() < MEASUREMENT_TIME {
        most = most.max(replica.process.resident_kilobytes().unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    let now = replica.process.resident_kilobytes().unwrap();
    let mebibytes = |kilobytes: u64| kilobytes as f64 / 1024.0;
    println!(
        "{role:>10}  {:.1} MiB  (at most {:.1})",
        mebibytes(now),
        mebibytes(most)
    );
}
