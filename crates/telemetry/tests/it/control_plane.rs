//! The stream's client against the real control plane.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use opentelemetry_sdk::trace::SamplingDecision;
use spoor_control::{Control, ControlSettings, Instance};
use spoor_policy::{
    Namespace, OperationName, Policy, PolicyFields, PolicyKey, Probability, ServiceName, Strategy,
    Target, Version, resolve,
};
use spoor_telemetry::{
    batch::SpanCounts,
    control_stream::{self, ControlStream, Credentials, Intervals},
    faults::Faults,
    sampler::{Live, LiveSampler},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Error, Server, server::TcpIncoming};

use crate::sampler::root;

const DEADLINE: Duration = Duration::from_secs(10);
const DECISIONS: u64 = 10_000;

#[tokio::test]
async fn policy_takes_effect_and_counts_are_reported() {
    let control = control();
    let stop = CancellationToken::new();
    let (address, server) = serve(&control, &stop);
    let live = Arc::new(Live::default());
    let client = client(address, "one", &live, Duration::from_millis(20));
    let client = tokio::spawn(control_stream::run(client, stop.clone()));
    let sampler = LiveSampler::new(live, Probability::ALWAYS);

    for percent in ["1%", "0.1%", "100%"] {
        let head = Strategy::Probability(percent.parse().unwrap());
        let version = publish(&control, head);
        let converged = timeout(DEADLINE, control.converged(version)).await.unwrap();
        assert_eq!(converged.instances, 1);
        let kept = (1..=DECISIONS).filter(|id| keeps(&sampler, *id)).count() as u64;
        assert_eq!(
            observed(&control, &[key("service-a")], DECISIONS).await,
            (DECISIONS, kept),
            "at {percent}"
        );
    }
    stop.cancel();
    timeout(DEADLINE, client).await.unwrap().unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn long_report_is_divided() {
    let control = control();
    let stop = CancellationToken::new();
    let (address, server) = serve(&control, &stop);
    let live = Arc::new(Live::default());
    let client = client(address, "one", &live, Duration::from_millis(200));
    let client = tokio::spawn(control_stream::run(client, stop.clone()));
    // Together they exceed the longest message that the control plane accepts.
    let operations = (0..4_000).map(|number| format!("{number:0300}"));
    let operations: Vec<OperationName> = operations.map(|it| it.parse().unwrap()).collect();
    let chunks = operations.chunks(Policy::MAX_OPERATIONS).zip(1..);
    let policies = chunks.map(|(operations, number)| {
        let target = Target {
            service: ServiceName::new("service-a").unwrap(),
            operations: operations.to_vec(),
        };
        policy(
            key(&format!("part-{number}")),
            vec![target],
            Strategy::Probability(Probability::ALWAYS),
        )
    });
    let policies: Vec<Policy> = policies.collect();
    let version = control.publish(resolve(&policies, Timestamp::now()));
    timeout(DEADLINE, control.converged(version)).await.unwrap();
    let sampler = LiveSampler::new(live, Probability::ALWAYS);
    let started = operations.len() as u64;
    for (id, operation) in (1..).zip(&operations) {
        root(&sampler, id, operation.as_str());
    }
    let keys: Vec<PolicyKey> = policies.iter().map(|it| it.key.clone()).collect();
    assert_eq!(observed(&control, &keys, started).await, (started, started));
    stop.cancel();
    timeout(DEADLINE, client).await.unwrap().unwrap();
    server.await.unwrap();
}

/// A control plane that expects the instance `one` of service-a.
fn control() -> Control {
    let control = Control::new(ControlSettings::default());
    control.set_expected(vec![Instance {
        namespace: Namespace::default(),
        service: ServiceName::new("service-a").unwrap(),
        id: "one".to_owned(),
    }]);
    control
}

/// Serves the stream on a free port until `stop`.
pub fn serve(
    control: &Control,
    stop: &CancellationToken,
) -> (SocketAddr, JoinHandle<Option<Result<(), Error>>>) {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let serving = Server::builder()
        .add_service(control.policy_stream())
        .serve_with_incoming(incoming);
    let server = tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
    (address, server)
}

/// The stream's client of an instance of service-a.
pub fn client(
    address: SocketAddr,
    instance: &str,
    live: &Arc<Live>,
    report: Duration,
) -> ControlStream {
    ControlStream {
        endpoint: format!("http://{address}").parse().unwrap(),
        credentials: Credentials::default(),
        service: ServiceName::new("service-a").unwrap(),
        instance: instance.to_owned(),
        start: "start".to_owned(),
        live: Arc::clone(live),
        faults: Arc::new(Faults::default()),
        spans: Arc::new(SpanCounts::default()),
        intervals: Intervals {
            report,
            ..Intervals::default()
        },
    }
}

fn keeps(sampler: &LiveSampler, number: u64) -> bool {
    // Spread over the bits that decide.
    let id = u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    root(sampler, id, "GET /").decision == SamplingDecision::RecordAndSample
}

pub fn key(name: &str) -> PolicyKey {
    PolicyKey {
        namespace: Namespace::default(),
        name: name.parse().unwrap(),
    }
}

/// Publishes a head policy for every service.
pub fn publish(control: &Control, head: Strategy) -> Version {
    let policy = policy(key("service-a"), Vec::new(), head);
    control.publish(resolve(&[policy], Timestamp::now()))
}

fn policy(key: PolicyKey, targets: Vec<Target>, head: Strategy) -> Policy {
    Policy::new(PolicyFields {
        key,
        priority: 0,
        created: Timestamp::now(),
        targets,
        head: Some(head),
        tail: None,
        expires_at: None,
    })
    .unwrap()
}

/// The numbers of root decisions under the policies and of those that sampled the trace, once at
/// least `started` decisions have been reported.
async fn observed(control: &Control, policies: &[PolicyKey], started: u64) -> (u64, u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let evidence = policies.iter().filter_map(|key| control.evidence(key));
        let observed = evidence.filter_map(|evidence| evidence.observed);
        let observed = observed.fold((0, 0), |(started, sampled), observed| {
            (started + observed.started, sampled + observed.sampled)
        });
        if observed.0 >= started {
            return observed;
        }
        assert!(Instant::now() < deadline, "{observed:?}");
        sleep(Duration::from_millis(5)).await;
    }
}
