//! The identity of a client comes from Kubernetes and not from what it claims: it gets its own
//! namespace's policies and its own service's strategy, and acts for its own instance only.

use std::{net::IpAddr, time::Duration};

use kube::api::DeleteParams;
use rcgen::KeyPair;
use serde_json::json;
use spoor_proto::spoor::control::v1::Plan;
use tonic::{Code, Status};

use crate::{
    apiserver::{self, Namespace, PodIdentity, eventually},
    remote_sampling,
    role::{
        MAX_WAIT, Policies,
        sampling_policy::{SamplingPolicy, condition},
        token::re_signed,
    },
    subscriber::{Claim, Subscriber, probability, version_ahead_of},
};

const AUDIENCE: &str = "spoor.dev";
const REFUSED: &str = "spoor_control_refused_total";
const REJECTED: &str = "spoor_control_rejected_messages_total";

async fn pod_of(namespace: &Namespace<'_>, service: &str, ip: &str) -> PodIdentity {
    let labels = [("spoor.dev/service", service)];
    namespace
        .ready_pod(&format!("{service}-0"), &labels, ip)
        .await
}

async fn subscribe(
    policies: &Policies,
    token: Option<&str>,
    service: &str,
    instance: &str,
) -> Result<(Subscriber, Plan), Status> {
    let claim = Claim {
        token,
        service,
        instance,
    };
    let endpoint = policies.endpoints().await.stream;
    // The watch of pods may lag behind the test that has just made one.
    let start = tokio::time::Instant::now();
    loop {
        match Subscriber::subscribe(endpoint, &policies.certificate.ca_pem, claim.clone()).await {
            Err(status) if status.code() == Code::Unavailable && start.elapsed() < MAX_WAIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            response => return response,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_gets_the_strategy_of_its_own_service() {
    let Some(server) = apiserver::shared("pod_gets_the_strategy_of_its_own_service").await else {
        return;
    };
    let namespace = server.namespace("spoor-own").await;
    SamplingPolicy::apply(&namespace, "a", "1%").await;
    SamplingPolicy::apply(&namespace, "b", "50%").await;
    let pod = pod_of(&namespace, "a", "127.0.0.2").await;
    let token = namespace.pod_token(&pod, AUDIENCE).await;
    let policies = Policies::start(&namespace).await;

    let (_, plan) = subscribe(&policies, Some(&token), "a", "a-0")
        .await
        .unwrap();
    assert_eq!(probability(&plan), Some(10_000));

    let Err(refused) = subscribe(&policies, Some(&token), "b", "a-0").await else {
        panic!("a pod of a was accepted as b");
    };
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(policies.count(REFUSED, "OtherService").await, 1);
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_tokens_are_refused_and_counted() {
    let test = "foreign_tokens_are_refused_and_counted";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-tokens").await;
    SamplingPolicy::apply(&namespace, "a", "1%").await;
    let pod = pod_of(&namespace, "a", "127.0.0.2").await;
    let gone = namespace
        .ready_pod("gone-0", &[("spoor.dev/service", "a")], "127.0.0.3")
        .await;
    let token = namespace.pod_token(&pod, AUDIENCE).await;
    let of_gone = namespace.pod_token(&gone, AUDIENCE).await;
    let pods = namespace.api::<k8s_openapi::api::core::v1::Pod>();
    pods.delete(&gone.name, &DeleteParams::default())
        .await
        .unwrap();
    let policies = Policies::start(&namespace).await;

    let issuer = KeyPair::from_pem(&server.token_key()).unwrap();
    let stranger = KeyPair::generate().unwrap();
    let renewed = re_signed(&token, &issuer, |_| {});
    let response = subscribe(&policies, Some(&renewed), "a", "a-0").await;
    assert!(
        response.is_ok(),
        "the issuer's own signature is refused: {:?}",
        response.err()
    );

    let past = |claims: &mut serde_json::Value| {
        let hours_ago = claims["iat"].as_i64().unwrap() - 7200;
        claims["iat"] = json!(hours_ago);
        claims["nbf"] = json!(hours_ago);
        claims["exp"] = json!(hours_ago + 3600);
    };
    let forged = re_signed(&token, &stranger, |_| {});
    let expired = re_signed(&token, &issuer, past);
    let for_the_api_server = namespace.account_token("default").await;
    let for_another = namespace.pod_token(&pod, "vault").await;
    let of_no_pod = namespace.token("default", &[AUDIENCE], None).await;
    let tokens = [
        ("garbage", Some("garbage".to_owned()), "TokenInvalid"),
        ("forged", Some(forged), "TokenInvalid"),
        ("expired", Some(expired), "TokenInvalid"),
        ("of a deleted pod", Some(of_gone), "TokenInvalid"),
        (
            "for the API server",
            Some(for_the_api_server),
            "WrongAudience",
        ),
        ("for another audience", Some(for_another), "WrongAudience"),
        ("of no pod", Some(of_no_pod), "NotAPod"),
        ("missing", None, "TokenMissing"),
    ];
    for (what, token, reason) in tokens {
        let before = policies.count(REFUSED, reason).await;
        let Err(status) = subscribe(&policies, token.as_deref(), "a", "a-0").await else {
            panic!("a client whose token is {what} was accepted");
        };
        let is_refused = [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code());
        assert!(is_refused, "{what}: {status:?}");
        let metrics = policies.ops("metrics").await;
        let output = format!("{status:?}\n{metrics}");
        let is_hidden = token.is_none_or(|token| token == "garbage" || !output.contains(&token));
        assert!(is_hidden, "{what}: the token is repeated");
        let now = policies.count(REFUSED, reason).await;
        assert_eq!(now, before + 1, "{what}, {reason}: {status:?}\n{metrics}");
    }
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_cannot_act_for_another_instance() {
    let Some(server) = apiserver::shared("client_cannot_act_for_another_instance").await else {
        return;
    };
    let namespace = server.namespace("spoor-instances").await;
    let policy = SamplingPolicy::apply(&namespace, "a", "1%").await;
    let mine = pod_of(&namespace, "a", "127.0.0.2").await;
    namespace
        .ready_pod("a-1", &[("spoor.dev/service", "a")], "127.0.0.3")
        .await;
    let token = namespace.pod_token(&mine, AUDIENCE).await;
    let policies = Policies::start(&namespace).await;

    let Err(refused) = subscribe(&policies, Some(&token), "a", "a-1").await else {
        panic!("a-0 was accepted as a-1");
    };
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(policies.count(REFUSED, "OtherInstance").await, 1);
    // A claimed name is ignored even if no pod has it: the client counts as a-0.
    let (subscriber, plan) = subscribe(&policies, Some(&token), "a", "somebody")
        .await
        .unwrap();
    subscriber.acknowledge(&plan).await;
    subscriber.report(&plan, 1_000, 10).await;
    let status = policy
        .wait_for("one of two is current", |status| {
            status["clients"]["current"] == 1
        })
        .await;
    assert_eq!(status["clients"]["expected"], 2);
    let converged = condition(&status, "Converged");
    assert_ne!(converged["status"], "True");
    let message = converged["message"].as_str().unwrap();
    assert!(message.contains("a-1"), "a-1 is not named: {message}");
    assert!(!message.contains("a-0"), "a-0 is named: {message}");

    // Nor can it acknowledge a plan that it was never sent, or report counts for one.
    let never_sent = version_ahead_of(&plan);
    subscriber.acknowledge(&never_sent).await;
    wait_for_rejections(&policies, 1).await;
    subscriber.report(&never_sent, 5_000, 5_000).await;
    wait_for_rejections(&policies, 2).await;
    // Nor can it report more sampled traces than started ones, or fewer than before.
    subscriber.report(&plan, 2_000, 2_001).await;
    wait_for_rejections(&policies, 3).await;
    subscriber.report(&plan, 10, 1).await;
    wait_for_rejections(&policies, 4).await;
    policies.stop().await;
}

async fn wait_for_rejections(policies: &Policies, times: u64) {
    eventually("impossible counts are refused", MAX_WAIT, async || {
        let counted = policies.count(REJECTED, "").await;
        match counted == times {
            true => Ok(()),
            false => Err(format!("{counted} of {times}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_do_not_affect_each_other() {
    let test = "namespaces_do_not_affect_each_other";
    let Some(server) = apiserver::private(test).await else {
        return;
    };
    let (mine, theirs) = (
        server.namespace("spoor-mine").await,
        server.namespace("theirs").await,
    );
    SamplingPolicy::apply(&mine, "a", "1%").await;
    // For all services, with the highest priority.
    let broad = json!({"priority": 1000, "head": {"probability": "0%"}});
    SamplingPolicy::apply_spec(&theirs, "everything", broad).await;
    let pod = pod_of(&mine, "a", "127.0.0.2").await;
    let other = pod_of(&theirs, "a", "127.0.0.3").await;
    let client = crate::role::chart::account_serving(&mine, "policies", &[]).await;
    let policies = Policies::start_with(client, &mine, "policies-0", |settings| {
        settings.role.scope = spoor_operator::kubernetes::watch::WatchScope::All;
    })
    .await;

    let token = mine.pod_token(&pod, AUDIENCE).await;
    let (_, plan) = subscribe(&policies, Some(&token), "a", "a-0")
        .await
        .unwrap();
    assert_eq!(probability(&plan), Some(10_000));
    let token = theirs.pod_token(&other, AUDIENCE).await;
    let (_, plan) = subscribe(&policies, Some(&token), "a", "a-0")
        .await
        .unwrap();
    assert_eq!(probability(&plan), Some(0));

    let endpoints = policies.endpoints().await;
    let from = |address: &str| address.parse::<IpAddr>().unwrap();
    let response = remote_sampling::poll_http(endpoints.http, from("127.0.0.2"), "a")
        .await
        .unwrap();
    assert_eq!(remote_sampling::sampling_rate(&response), Some(0.01));
    let response = remote_sampling::poll_http(endpoints.http, from("127.0.0.3"), "a")
        .await
        .unwrap();
    assert_eq!(remote_sampling::sampling_rate(&response), Some(0.0));
    policies.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sampling_endpoints_identify_by_address() {
    let Some(server) = apiserver::shared("sampling_endpoints_identify_by_address").await else {
        return;
    };
    let namespace = server.namespace("spoor-stock").await;
    SamplingPolicy::apply(&namespace, "a", "1%").await;
    SamplingPolicy::apply(&namespace, "b", "50%").await;
    pod_of(&namespace, "a", "127.0.0.2").await;
    let policies = Policies::start(&namespace).await;
    let endpoints = policies.endpoints().await;
    let pod: IpAddr = [127, 0, 0, 2].into();
    let unknown_peer: IpAddr = [127, 0, 0, 9].into();

    let response = eventually("a's own strategy over HTTP", MAX_WAIT, async || {
        remote_sampling::poll_http(endpoints.http, pod, "a")
            .await
            .map_err(|status| status.to_string())
    });
    assert_eq!(remote_sampling::sampling_rate(&response.await), Some(0.01));
    assert_eq!(
        remote_sampling::poll_http(endpoints.http, pod, "b")
            .await
            .unwrap_err(),
        403
    );
    assert_eq!(
        remote_sampling::poll_http(endpoints.http, unknown_peer, "a")
            .await
            .unwrap_err(),
        503
    );

    let rate = remote_sampling::poll_grpc(endpoints.grpc, pod, "a")
        .await
        .unwrap();
    assert_eq!(rate, Some(0.01));
    let status = remote_sampling::poll_grpc(endpoints.grpc, pod, "b")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let status = remote_sampling::poll_grpc(endpoints.grpc, unknown_peer, "a")
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(policies.count(REFUSED, "OtherService").await, 2);
    assert_eq!(policies.count(REFUSED, "UnknownPeer").await, 2);
    policies.stop().await;
}
