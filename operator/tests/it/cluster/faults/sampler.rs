//! Faults around Spoor's sampler under load: no trace is lost or split, and no more spans are
//! repeated than were in flight.
//!
//! Each fault is injected once by default, and ten times with `SPOOR_FULL_LENGTH=1`. The tests
//! print a table of the results; `docs/tail-rules.md` has the command. The sampler's journal is on
//! a claim: an emptyDir ends with the pod, whose deletion then splits the traces in progress.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime},
};

use http::Request;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::super::{
    comparison::{Comparison, RATES},
    jaeger,
    lab::{Lab, ROLLOUT_TIMEOUT},
    load, node, pods, policies,
    sampler::{self, Length, PODS, SERVICES},
    stack, tail,
};
use super::{jaeger_pods, operator};
use crate::apiserver::eventually;

const POLICY: &str = "faults";
const COLLECTOR: &str = "app.kubernetes.io/name=collector";
/// Jaeger's port for OTLP over gRPC.
const JAEGER_OTLP_PORT: u16 = 4317;
/// The time of load before a fault, and after it has been injected.
const LOAD_BEFORE: Duration = Duration::from_secs(5);
const LOAD_AFTER: Duration = Duration::from_secs(20);
/// The most spans that the sampler has in flight: four batches of 1,000 spans.
const SAMPLER_IN_FLIGHT: usize = 4_000;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ContainerKilled,
    PodDeleted,
    CollectorKilled,
    OperatorKilled,
    JaegerUnreachable,
    ApiServerPaused,
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_lose_and_split_nothing() {
    let Some(lab) = Lab::with_sampler("sampler faults").await else {
        return;
    };
    // A killed container is started again at once only if the pod is new, so the pod's deletion
    // follows.
    let faults = [
        Fault::ContainerKilled,
        Fault::PodDeleted,
        Fault::CollectorKilled,
        Fault::OperatorKilled,
        Fault::JaegerUnreachable,
    ];
    assert_harmless(&lab, &faults).await;
}

/// Injects each fault under load, prints a table of the results, and asserts that nothing was lost
/// or split, and that no more spans were repeated than were in flight. Does nothing, with a
/// message, if there is no shell of the node.
pub async fn assert_harmless(lab: &Lab, faults: &[Fault]) {
    if !node::has_shell("faults around the sampler").await {
        return;
    }
    let length = Length::from_env();
    stack::patch(lab, &json!({"sampler": {"storage": {"claim": {}}}})).await;
    lab.wait_until_settled().await;
    sampler::apply_rules(lab, POLICY).await;
    let mut results: Vec<Results> = faults.iter().copied().map(Results::new).collect();
    for round in 1..=length.rounds {
        for results in &mut results {
            let (compared, in_flight) = inject_under_load(lab, results.fault, length).await;
            lab.log(format_args!(
                "round {round}, {}: {compared}; at most {in_flight} spans were in flight",
                results.fault
            ));
            results.add(compared, in_flight);
        }
    }
    let table = table(&results);
    lab.log(format_args!("results:\n{table}"));
    assert!(results.iter().all(Results::is_harmless), "{table}");
}

/// Injects a fault under load. Returns the comparison of what was sent with what is in Jaeger, and
/// the most spans that were in flight.
async fn inject_under_load(lab: &Lab, fault: Fault, length: Length) -> (Comparison, usize) {
    let since = SystemTime::now();
    let lasts = LOAD_BEFORE + fault.duration(length) + LOAD_AFTER;
    let senders = length.start(lab, sampler::SHORT, lasts).await;
    sleep(LOAD_BEFORE).await;
    fault.inject(lab, length).await;
    let sent = sampler::exported(senders).await;
    lab.wait_until_settled().await;
    sampler::wait_until_empty(lab).await;
    let in_flight = fault.max_in_flight(lab, length).await;
    let found = jaeger::all_traces(lab, SERVICES[0], since).await;
    (Comparison::new(&sent, &found, POLICY), in_flight)
}

impl Fault {
    /// The time for which Jaeger or the API server is unavailable.
    fn duration(self, length: Length) -> Duration {
        match self {
            Self::JaegerUnreachable | Self::ApiServerPaused => length.outage,
            _ => Duration::ZERO,
        }
    }

    async fn inject(self, lab: &Lab, length: Length) {
        match self {
            Self::ContainerKilled => kill_container(lab).await,
            Self::PodDeleted => tail::drain(lab, PODS).await,
            Self::CollectorKilled => {
                assert_eq!(node::kill_containers(lab, COLLECTOR).await, 1);
                // A new pod, whose container is always started at once.
                pods::kill(lab, COLLECTOR).await;
            }
            Self::OperatorKilled => kill_operator(lab).await,
            Self::JaegerUnreachable => {
                let failures = sampler::metric(lab, "send_failures_total").await;
                node::reject_connections(lab, &jaeger_pods(), JAEGER_OTLP_PORT, length.outage)
                    .await;
                let failed = sampler::metric(lab, "send_failures_total").await;
                assert!(failed > failures, "Jaeger stayed reachable");
            }
            Self::ApiServerPaused => pause_api_server(lab, length.outage).await,
        }
    }

    /// The most spans that were in flight during the fault, and may be repeated.
    async fn max_in_flight(self, lab: &Lab, length: Length) -> usize {
        let requests = length.senders * SERVICES.len() * load::REQUESTS_IN_FLIGHT;
        let from_senders = requests * load::IDENTIFIED_BATCH_SPANS;
        match self {
            Self::ContainerKilled | Self::PodDeleted => {
                let resent = sampler::metric(lab, "spans_resent_total").await;
                from_senders + usize::try_from(resent).unwrap()
            }
            Self::CollectorKilled => from_senders + SAMPLER_IN_FLIGHT,
            Self::JaegerUnreachable => SAMPLER_IN_FLIGHT,
            Self::OperatorKilled | Self::ApiServerPaused => 0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContainerKilled => "sampler's container killed (`SIGKILL`)",
            Self::PodDeleted => "sampler's pod deleted",
            Self::CollectorKilled => "Collector killed (`SIGKILL`) and replaced",
            Self::OperatorKilled => "operator killed during a change of rules",
            Self::JaegerUnreachable => "Jaeger unreachable",
            Self::ApiServerPaused => "API server paused",
        })
    }
}

async fn kill_container(lab: &Lab) {
    let before = pods::of_service(lab, "sampler").await;
    assert_eq!(node::kill_containers(lab, PODS).await, 1);
    eventually("the container's restart", ROLLOUT_TIMEOUT, || async {
        let now = pods::of_service(lab, "sampler").await;
        if now == before {
            Err(format!("{now:?}"))
        } else {
            Ok(())
        }
    })
    .await;
}

async fn kill_operator(lab: &Lab) {
    let (stacks, policies) = (operator("stacks"), operator("policies"));
    let [low, high] = RATES.map(sampler::otherwise);
    // Concurrently, so that the change may be at any step when the operator is killed.
    let ((), stacks, policies) = tokio::join!(
        policies::patch(lab, POLICY, &high),
        pods::kill(lab, &stacks),
        pods::kill(lab, &policies)
    );
    assert_eq!((stacks, policies), (1, 1));
    policies::wait_for(lab, POLICY, "Programmed", "True").await;
    policies::patch(lab, POLICY, &low).await;
    policies::wait_for(lab, POLICY, "Programmed", "True").await;
}

async fn pause_api_server(lab: &Lab, outage: Duration) {
    const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
    let request_during_outage = async {
        sleep(outage / 2).await;
        timeout(RESPONSE_TIMEOUT, lab.client.apiserver_version()).await
    };
    let ((), response) = tokio::join!(node::pause_api_server(outage), request_during_outage);
    assert!(!matches!(response, Ok(Ok(_))), "{response:?}");
    eventually("the API server's readiness", ROLLOUT_TIMEOUT, || async {
        let request = Request::get("/readyz").body(Vec::new()).unwrap();
        let response = lab.client.request_text(request).await;
        response.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// The results of a fault, added up over all rounds.
struct Results {
    fault: Fault,
    rounds: usize,
    total: Comparison,
    in_flight: usize,
    /// The most spans repeated in one round in excess of those in flight.
    excess: usize,
}

impl Results {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            rounds: 0,
            total: Comparison::default(),
            in_flight: 0,
            excess: 0,
        }
    }

    fn add(&mut self, compared: Comparison, in_flight: usize) {
        self.rounds += 1;
        self.total += compared;
        self.in_flight += in_flight;
        let excess = compared.repeated.saturating_sub(in_flight);
        self.excess = self.excess.max(excess);
    }

    fn is_harmless(&self) -> bool {
        (self.total.lost, self.total.split, self.excess) == (0, 0, 0)
    }
}

/// The results as a table in Markdown.
fn table(results: &[Results]) -> String {
    let mut table = "| fault | times | traces sent | certainly to keep | lost | split \
                     | spans repeated | at most in flight | kept against the rules |\n\
                     |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for results in results {
        let total = results.total;
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            results.fault,
            results.rounds,
            total.sent,
            total.expected,
            total.lost,
            total.split,
            total.repeated,
            results.in_flight,
            total.unexpected
        )
        .unwrap();
    }
    table
}
