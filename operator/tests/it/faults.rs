//! Failures: the operator or its leader is killed, the API server is unavailable, a watch expires.
//! Services keep the last rate and get the next one.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use spoor_proto::spoor::control::v1::Plan;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    apiserver::{self, Namespace, eventually},
    role::{MAX_WAIT, Policies, chart, replica::Release, sampling_policy::SamplingPolicy},
    subscriber::{Claim, Subscriber, probability},
};

/// The time for which the API server is unavailable.
const OUTAGE: Duration = Duration::from_secs(30);

/// The deadline for a standby to become the leader. By default a lease lasts 15 s, and a standby
/// reads it every 2 s.
const TAKEOVER: Duration = Duration::from_secs(30);

/// A pod of service `a` with its token.
struct Instance {
    name: String,
    token: String,
}

impl Instance {
    async fn new(namespace: &Namespace<'_>, number: u8) -> Self {
        let name = format!("a-{number}");
        let ip = format!("127.0.0.{}", 2 + number);
        let pod = namespace
            .ready_pod(&name, &[("spoor.dev/service", "a")], &ip)
            .await;
        let token = namespace.pod_token(&pod, "spoor.dev").await;
        Self { name, token }
    }

    /// Connects with retries, as the services' client does.
    async fn connect(
        &self,
        endpoint: std::net::SocketAddr,
        ca_pem: &str,
        within: Duration,
    ) -> (Subscriber, Plan) {
        eventually("a stream", within, async || {
            let stream = self.try_connect(endpoint, ca_pem).await;
            stream.map_err(|status| format!("{status:?}"))
        })
        .await
    }

    async fn try_connect(
        &self,
        endpoint: std::net::SocketAddr,
        ca_pem: &str,
    ) -> Result<(Subscriber, Plan), Status> {
        let claim = Claim {
            token: Some(&self.token),
            service: "a",
            instance: &self.name,
        };
        let (subscriber, plan) = Subscriber::subscribe(endpoint, ca_pem, claim).await?;
        subscriber.acknowledge(&plan).await;
        Ok((subscriber, plan))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standby_replaces_a_killed_leader() {
    let test = "standby_replaces_a_killed_leader";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-leader").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let instance = Instance::new(&namespace, 0).await;
    let release = Release::new(&namespace, "policies").await;
    let (endpoint, ca) = (release.endpoints.stream, release.certificate.ca_pem.clone());
    let leader = release.start("policies-0");
    eventually("the first replica is the leader", TAKEOVER, async || {
        leader.check_ready().await
    })
    .await;
    let standby = release.start("policies-1");
    let (_stream, plan) = instance.connect(endpoint, &ca, MAX_WAIT).await;
    assert_eq!(probability(&plan), Some(10_000));
    policy.wait_for_condition("Converged").await;
    eventually(
        "the second replica reads the lease",
        MAX_WAIT,
        async || match standby.check_ready().await {
            Ok(()) => panic!("two replicas are leaders at once"),
            Err(reason) if reason.contains("error") => Err(reason),
            Err(_) => Ok(()),
        },
    )
    .await;

    leader.process.kill();
    let killed = Instant::now();
    policy.patch("2%").await;
    let (_stream, plan) = eventually("the new rate from the standby", TAKEOVER, async || {
        let stream = instance.try_connect(endpoint, &ca).await;
        let (stream, plan) = stream.map_err(|status| format!("{status:?}"))?;
        match probability(&plan) {
            Some(20_000) => Ok((stream, plan)),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    println!(
        "takeover after the leader's death: {:.1?}",
        killed.elapsed()
    );
    assert_eq!(probability(&plan), Some(20_000));
    policy.wait_for_condition("Converged").await;
    assert!(standby.check_ready().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_leader_releases_its_lease() {
    let Some(server) = apiserver::shared("stopped_leader_releases_its_lease").await else {
        return;
    };
    let namespace = server.namespace("spoor-handover").await;
    let release = Release::new(&namespace, "policies").await;
    let leader = release.start("policies-0");
    eventually("the first replica is the leader", TAKEOVER, async || {
        leader.check_ready().await
    })
    .await;
    let standby = release.start("policies-1");
    eventually("the second replica runs", MAX_WAIT, async || {
        let ready = standby.check_ready().await;
        ready
            .err()
            .filter(|reason| !reason.contains("error"))
            .map(drop)
            .ok_or("not yet".to_owned())
    })
    .await;

    leader.process.terminate();
    let stopped = Instant::now();
    eventually("the second replica is the leader", TAKEOVER, async || {
        standby.check_ready().await
    })
    .await;
    println!("handover after SIGTERM: {:.1?}", stopped.elapsed());
    // Waiting for the lease to expire would take 15 s.
    assert!(
        stopped.elapsed() < Duration::from_secs(10),
        "{:?}",
        stopped.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn change_survives_a_killed_operator() {
    let test = "change_survives_a_killed_operator";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-midst").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let instance = Instance::new(&namespace, 0).await;
    let release = Release::new(&namespace, "policies").await;
    let (endpoint, ca) = (release.endpoints.stream, release.certificate.ca_pem.clone());
    let mut replica = release.start("policies-0");
    let (mut stream, _) = instance.connect(endpoint, &ca, TAKEOVER).await;
    policy.wait_for_condition("Converged").await;

    // After the push and before the status: the service has the plan, but no status reports it.
    policy.patch("2%").await;
    stream.acknowledge_until(20_000).await;
    replica.process.kill();
    replica = release.start("policies-0");
    let (_stream, plan) = instance.connect(endpoint, &ca, TAKEOVER).await;
    assert_eq!(probability(&plan), Some(20_000));
    let status = policy.wait_for_condition("Converged").await;
    assert_eq!(status["clients"]["current"], 1);

    // Before the push: the change is only in the API server.
    replica.process.kill();
    policy.patch("3%").await;
    replica = release.start("policies-0");
    let (_stream, plan) = instance.connect(endpoint, &ca, TAKEOVER).await;
    assert_eq!(probability(&plan), Some(30_000));
    policy.wait_for_condition("Converged").await;
    assert!(replica.process.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_outage_keeps_the_rate() {
    let Some(server) = apiserver::private("api_server_outage_keeps_the_rate").await else {
        return;
    };
    let namespace = server.namespace("spoor-away").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let (instance, late) = (
        Instance::new(&namespace, 0).await,
        Instance::new(&namespace, 1).await,
    );
    let policies = Policies::start(&namespace).await;
    let (endpoint, ca) = (
        policies.endpoints().await.stream,
        policies.certificate.ca_pem.clone(),
    );
    let (mut stream, plan) = instance.connect(endpoint, &ca, MAX_WAIT).await;
    policy
        .wait_for("one is current", |status| status["clients"]["current"] == 1)
        .await;

    server.kill();
    let started = Instant::now();
    let mut counted = 0;
    while started.elapsed() < OUTAGE {
        tokio::time::sleep(Duration::from_millis(500)).await;
        counted += 1_000;
        stream.report(&plan, counted, counted / 100).await;
        assert_eq!(policies.ops("healthz").await.trim(), "ok");
    }
    // A new client cannot be identified, and is refused with a status that makes it retry.
    let Err(status) = late.try_connect(endpoint, &ca).await else {
        panic!("a token was accepted without a review");
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // The lease expired long ago, but no other replica could acquire it.
    assert!(
        policies.running.endpoints.borrow().is_some(),
        "the listeners are closed"
    );

    server.resume().await;
    let back = Instant::now();
    policy.patch("2%").await;
    stream.acknowledge_until(20_000).await;
    println!(
        "a change after {OUTAGE:?} without the API server: {:.1?}",
        back.elapsed()
    );
    let (_late, plan) = late.connect(endpoint, &ca, MAX_WAIT).await;
    assert_eq!(probability(&plan), Some(20_000));
    policy.wait_for_condition("Converged").await;
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_watch_lists_again() {
    let Some(server) = apiserver::private("expired_watch_lists_again").await else {
        return;
    };
    let namespace = server.namespace("spoor-gone").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let deleted = SamplingPolicy::apply(&namespace, "b", "1%").await;
    let instance = Instance::new(&namespace, 0).await;
    let policies = Policies::start(&namespace).await;
    let (endpoint, ca) = (
        policies.endpoints().await.stream,
        policies.certificate.ca_pem.clone(),
    );
    let (mut stream, _) = instance.connect(endpoint, &ca, MAX_WAIT).await;
    policy.wait_for_condition("Converged").await;
    deleted.wait_for_condition("Accepted").await;

    // Other writes make the resource version of the operator's watches an old one, and the
    // compaction then removes that version from the history.
    let mark = server.mark();
    for _ in 0..20 {
        server.namespace("noise").await;
    }
    server.kill();
    server.compact().await;
    server.resume().await;
    // Two changes that the operator's old watches do not deliver; one is a deletion.
    deleted.delete().await;
    policy.patch("2%").await;
    stream.acknowledge_until(20_000).await;
    policy.wait_for_condition("Converged").await;

    let account = chart::account_name(&namespace.name, "policies");
    let calls = server.calls_of(&namespace.name, &account, mark);
    let relisted = calls
        .iter()
        .any(|call| call.verb == "list" && call.resource == "samplingpolicies");
    let gone: Vec<_> = calls.iter().filter(|call| call.code == 410).collect();
    println!("{} watches got 410", gone.len());
    assert!(relisted, "the objects were not listed again: {calls:#?}");
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_of_another_manager_is_overwritten() {
    let Some(server) = apiserver::shared("status_of_another_manager_is_overwritten").await else {
        return;
    };
    let namespace = server.namespace("spoor-owner").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let policies = Policies::start(&namespace).await;
    policy.wait_for_condition("Programmed").await;

    let foreign = serde_json::json!({
        "apiVersion": "spoor.dev/v1alpha1",
        "kind": "SamplingPolicy",
        "metadata": {"name": "a"},
        "status": {"conditions": [{
            "type": "Programmed",
            "status": "False",
            "reason": "AnotherManager",
            "message": "no",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }]},
    });
    policy.apply_status(foreign, "another-manager").await;
    policy.wait_for_condition("Programmed").await;
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_definitions_are_logged_once() {
    let Some(server) = apiserver::private("missing_definitions_are_logged_once").await else {
        return;
    };
    let namespace = server.namespace("spoor-bare").await;
    let definitions: Api<CustomResourceDefinition> = Api::all(namespace.client.clone());
    for definition in definitions.list(&ListParams::default()).await.unwrap() {
        let name = definition.metadata.name.unwrap();
        let deleted = definitions.delete(&name, &DeleteParams::default()).await;
        deleted.unwrap();
    }
    eventually("the definitions are deleted", MAX_WAIT, async || {
        let left = definitions.list(&ListParams::default()).await.unwrap();
        match left.items.len() {
            0 => Ok(()),
            left => Err(format!("{left} definitions are left")),
        }
    })
    .await;
    let release = Release::new(&namespace, "policies").await;
    let replica = release.start("policies-0");
    eventually(
        "the readiness names the missing definitions",
        MAX_WAIT,
        async || match replica.check_ready().await {
            Err(reason) if reason.contains("CustomResourceDefinitions") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .await;
    // Long enough for each watch to try several times.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let log = replica.process.log_tail();
    let warnings = log.matches("the watch failed").count();
    assert_eq!(warnings, 2, "one for each kind: {log}");

    server.define_resources().await;
    eventually("the replica is ready", TAKEOVER, async || {
        replica.check_ready().await
    })
    .await;
}
