//! In steady state the operator writes only Leases and, under load, a status at most every 30 s.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{self, eventually},
    role::{MAX_WAIT, Policies, chart, sampling_policy::SamplingPolicy},
    subscriber::{Claim, Subscriber},
};

const STEADY_PERIOD: Duration = Duration::from_secs(20);
const INSTANCE_COUNT: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn steady_load_writes_at_most_one_status() {
    let Some(server) = apiserver::shared("steady_load_writes_at_most_one_status").await else {
        return;
    };
    let namespace = server.namespace("spoor-steady").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "10%").await;
    let policies = Policies::start(&namespace).await;
    let endpoint = policies.endpoints().await.stream;
    let mut clients = Vec::new();
    for number in 0..INSTANCE_COUNT {
        let name = format!("a-{number}");
        let ip = format!("127.0.0.{}", 2 + number);
        let pod = namespace
            .ready_pod(&name, &[("spoor.dev/service", "a")], &ip)
            .await;
        let token = namespace.pod_token(&pod, "spoor.dev").await;
        let claim = Claim {
            token: Some(&token),
            service: "a",
            instance: &name,
        };
        let client = eventually("a stream", MAX_WAIT, async || {
            let ca = &policies.certificate.ca_pem;
            let stream = Subscriber::subscribe(endpoint, ca, claim.clone()).await;
            stream.map_err(|status| format!("{status:?}"))
        });
        let (subscriber, plan) = client.await;
        subscriber.acknowledge(&plan).await;
        clients.push((subscriber, plan));
    }
    policy.wait_for_condition("Converged").await;
    let mut load = Load::default();
    // The first observed rate is written at once.
    let observed = |status: &serde_json::Value| status["observed"]["started"].as_u64() > Some(0);
    let until = Instant::now() + MAX_WAIT * 2;
    while !observed(&policy.get().await.unwrap()["status"]) {
        assert!(
            Instant::now() < until,
            "no observed rate: {:?}",
            policy.get().await
        );
        load.report(&clients).await;
    }

    let mark = server.mark();
    let start = Instant::now();
    while start.elapsed() < STEADY_PERIOD {
        load.report(&clients).await;
    }

    let account = chart::account_name(&namespace.name, "policies");
    let calls = server.calls_of(&namespace.name, &account, mark);
    let mut statuses = 0;
    for call in calls.iter().filter(|call| call.resource != "leases") {
        match call.resource_of_rule().as_str() {
            "samplingpolicies/status" => statuses += 1,
            _ => assert_eq!(call.verb, "watch", "in steady state: {call:?}"),
        }
    }
    assert!(
        statuses <= 1,
        "a status is written every 30 s at most: {statuses} in {STEADY_PERIOD:?}"
    );
    assert!(
        !calls.is_empty(),
        "the audit log has no renewal of the Lease"
    );
    policies.stop().await;
}

/// Clients that sample a tenth of the traces that they start.
#[derive(Default)]
struct Load(u64);

impl Load {
    /// Waits for half a second, then reports counts.
    async fn report(&mut self, clients: &[(Subscriber, spoor_proto::spoor::control::v1::Plan)]) {
        sleep(Duration::from_millis(500)).await;
        self.0 += 1;
        for (subscriber, plan) in clients {
            subscriber.report(plan, self.0 * 1_000, self.0 * 100).await;
        }
    }
}
