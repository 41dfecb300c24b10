//! Identification of clients by their credentials, which limits what they can report.

use std::{
    future::{Future, ready},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
};

use reqwest::StatusCode;
use rstest::rstest;
use spoor_control::{
    Caller, ControlSettings, Counts, Denied, Identify, Identity, SamplerCaller, SamplerIdentity,
};
use spoor_policy::{Namespace, Policy, ServiceName};
use spoor_proto::{
    jaeger::api_v2::{SamplingStrategyParameters, sampling_manager_client::SamplingManagerClient},
    spoor::control::v1::{self as proto, client_message::Message},
};
use tonic::Code;

use crate::support::{
    Client, TestServer, count, eventually, instance, key, percent, policy, resolved,
};

/// A small cluster: `token-POD` is the token of a pod of service `a` in `default`. Every polling
/// client is such a pod, regardless of its address.
struct Pods;

impl Identify for Pods {
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>> {
        Box::pin(ready(identity(&caller)))
    }

    fn polling(&self, _: Option<IpAddr>, service: &ServiceName) -> Result<Namespace, Denied> {
        check_is_service_a(service).map(|_| Namespace::default())
    }

    fn reporting(&self, _: Option<IpAddr>) -> Result<Namespace, Denied> {
        Err(Denied::NotACollector)
    }

    fn sampler<'a>(
        &'a self,
        _: SamplerCaller,
    ) -> Pin<Box<dyn Future<Output = Result<SamplerIdentity, Denied>> + Send + 'a>> {
        Box::pin(ready(Err(Denied::NotASampler)))
    }
}

fn identity(caller: &Caller) -> Result<Identity, Denied> {
    let authorization = caller.metadata.get("authorization");
    let authorization = authorization.ok_or(Denied::TokenMissing)?;
    let pod = match authorization.to_str().unwrap() {
        "Bearer for another" => return Err(Denied::WrongAudience),
        "Bearer token-without-pod" => return Err(Denied::NotAPod),
        "Bearer token-unwatched" => return Err(Denied::UnknownPod("unwatched".to_owned())),
        token => token.strip_prefix("Bearer token-"),
    };
    let pod = pod.ok_or(Denied::TokenInvalid)?;
    Ok(Identity {
        namespace: Namespace::default(),
        service: check_is_service_a(&caller.service)?,
        instance: pod.to_owned(),
    })
}

fn check_is_service_a(claimed: &ServiceName) -> Result<ServiceName, Denied> {
    let actual: ServiceName = "a".parse().unwrap();
    if *claimed == actual {
        return Ok(actual);
    }
    Err(Denied::OtherService {
        claimed: claimed.clone(),
        actual,
    })
}

async fn server(policies: &[Policy]) -> TestServer {
    let server = TestServer::empty(ControlSettings {
        identify: Arc::new(Pods),
        ..ControlSettings::default()
    })
    .await;
    server.control.publish(resolved(policies));
    server
}

fn hello(service: &str, instance: &str, start: &str) -> Message {
    Message::Hello(proto::Hello {
        service: service.to_owned(),
        instance: instance.to_owned(),
        start: start.to_owned(),
        ..Default::default()
    })
}

/// A stream of a pod's process.
async fn process(server: &TestServer, pod: &str, start: &str) -> Client {
    let token = format!("token-{pod}");
    server
        .client_as(&token, hello("a", pod, start))
        .await
        .unwrap()
}

fn counts(server: &TestServer) -> (u64, u64) {
    let service = "a".parse().unwrap();
    let Counts { started, sampled } = server.control.counts(&Namespace::default(), &service, None);
    (started, sampled)
}

fn half() -> Vec<Policy> {
    vec![policy("one", &[("a", &[])], percent("50%"))]
}

#[rstest]
#[case::none("", "a", "TokenMissing", Code::Unauthenticated)]
#[case::forged("forged", "a", "TokenInvalid", Code::Unauthenticated)]
#[case::another_audience("for another", "a", "WrongAudience", Code::Unauthenticated)]
#[case::without_a_pod("token-without-pod", "a", "NotAPod", Code::PermissionDenied)]
#[case::another_service("token-1", "b", "OtherService", Code::PermissionDenied)]
#[case::not_watched_yet("token-unwatched", "a", "UnknownPod", Code::Unavailable)]
#[tokio::test]
async fn refusals_are_counted_by_reason(
    #[case] token: &str,
    #[case] service: &str,
    #[case] reason: &str,
    #[case] code: Code,
) {
    let server = server(&half()).await;
    let mut client = server
        .client_as(token, hello(service, "any", "1"))
        .await
        .unwrap();
    assert_eq!(client.end().await.unwrap_err().code(), code);
    let line = format!(r#"spoor_control_refused_total{{endpoint="Stream",reason="{reason}"}} 1"#);
    server.wait_for_metric(&line).await;
    assert_eq!(server.control.instances(), []);
}

#[tokio::test]
async fn polling_for_another_service_is_refused() {
    let server = server(&half()).await;
    let poll = |service: &str| reqwest::get(format!("{}/sampling?service={service}", server.http));
    assert_eq!(poll("a").await.unwrap().status(), StatusCode::OK);
    assert_eq!(poll("b").await.unwrap().status(), StatusCode::FORBIDDEN);
    let mut grpc = SamplingManagerClient::new(server.channel().await);
    let parameters = SamplingStrategyParameters {
        service_name: "b".to_owned(),
    };
    let status = grpc.get_sampling_strategy(parameters).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), "this pod belongs to service a, not b");
    for endpoint in ["Http", "Grpc"] {
        let line = format!(
            r#"spoor_control_refused_total{{endpoint="{endpoint}",reason="OtherService"}} 1"#
        );
        server.wait_for_metric(&line).await;
    }
}

#[tokio::test]
async fn only_a_collector_may_send_metrics() {
    let server = server(&half()).await;
    let request = reqwest::Client::new().post(format!("{}/v1/metrics", server.http));
    let request = request.header("content-type", "application/x-protobuf");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="Metrics",reason="NotACollector"} 1"#,
        )
        .await;
}

#[tokio::test]
async fn instance_is_the_pod_not_its_own_claim() {
    let server = server(&half()).await;
    server.control.set_expected(vec![instance("a", "pod-1")]);
    let hello = hello("a", "a-uuid", "start-1");
    let mut client = server.client_as("token-pod-1", hello).await.unwrap();
    client.accept_plan().await;
    eventually("current", || {
        server.control.instances().iter().all(|it| it.is_current)
    })
    .await;
    let instances = server.control.instances();
    let named: Vec<_> = instances.iter().map(|it| it.instance.id.as_str()).collect();
    assert_eq!(named, ["pod-1"]);
    assert!(instances[0].is_expected);
}

#[tokio::test]
async fn counts_of_a_restarted_container_add_up() {
    let server = server(&half()).await;
    server.control.set_expected(vec![instance("a", "pod-1")]);
    let mut first = process(&server, "pod-1", "start-1").await;
    let plan = first.accept_plan().await;
    first.report(vec![count(&plan, "", 10, 5)]).await;
    eventually("the first process's counts", || counts(&server) == (10, 5)).await;
    drop(first);

    let mut second = process(&server, "pod-1", "start-2").await;
    let plan = second.accept_plan().await;
    second.report(vec![count(&plan, "", 4, 2)]).await;
    eventually("the counts of both", || counts(&server) == (14, 7)).await;
    drop(second);

    let mut again = process(&server, "pod-1", "start-2").await;
    let plan = again.accept_plan().await;
    again.report(vec![count(&plan, "", 6, 3)]).await;
    eventually("the increase", || counts(&server) == (16, 8)).await;
    let clients = server.control.evidence(&key("one")).unwrap().clients;
    assert_eq!((clients.expected, clients.current), (1, 1));
    assert!(!server.metrics().contains("rejected_messages_total{"));
}

#[tokio::test]
async fn pod_is_current_when_all_its_processes_are() {
    let server = server(&half()).await;
    server.control.set_expected(vec![instance("a", "pod-1")]);
    let mut one = process(&server, "pod-1", "one").await;
    let mut two = process(&server, "pod-1", "two").await;
    let plan = one.accept_plan().await;
    one.report(vec![count(&plan, "", 10, 5)]).await;
    two.plan().await;
    eventually("the counts of one", || counts(&server) == (10, 5)).await;
    let clients = || server.control.evidence(&key("one")).unwrap().clients;
    assert_eq!((clients().expected, clients().current), (1, 0));
    two.acknowledge(plan.version).await;
    two.report(vec![count(&plan, "", 3, 1)]).await;
    eventually("the counts of both", || counts(&server) == (13, 6)).await;
    assert_eq!((clients().expected, clients().current), (1, 1));
}

/// A start is the client's own claim, so it must not lead to the record of another pod.
#[tokio::test]
async fn shared_start_does_not_mix_up_pods() {
    let server = server(&half()).await;
    server
        .control
        .set_expected(vec![instance("a", "honest"), instance("a", "forger")]);
    let mut honest = process(&server, "honest", "start").await;
    let mut forger = process(&server, "forger", "start").await;
    forger.accept_plan().await;
    eventually("one of two instances is current", || {
        server
            .control
            .evidence(&key("one"))
            .unwrap()
            .clients
            .current
            == 1
    })
    .await;
    let state = server.control.instances();
    let honest_is_current = state
        .iter()
        .any(|it| it.instance.id == "honest" && it.is_current);
    assert!(!honest_is_current);
    let plan = honest.accept_plan().await;
    honest.report(vec![count(&plan, "", 10, 5)]).await;
    forger.report(vec![count(&plan, "", 1, 0)]).await;
    eventually("the counts of both pods", || counts(&server) == (11, 5)).await;
}

#[tokio::test]
async fn pod_claiming_another_instance_is_refused() {
    let server = server(&half()).await;
    server
        .control
        .set_expected(vec![instance("a", "pod-1"), instance("a", "pod-2")]);
    let mut honest = process(&server, "pod-1", "start").await;
    honest.accept_plan().await;
    for claimed in ["pod-1", "pod-2"] {
        let hello = hello("a", claimed, "start");
        let mut forger = server.client_as("token-forger", hello).await.unwrap();
        let status = forger.end().await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="Stream",reason="OtherInstance"} 2"#,
        )
        .await;
    honest.report(vec![]).await;
}

/// A process can neither acknowledge nor report a plan that only another one was sent.
#[tokio::test]
async fn versions_not_sent_to_a_process_are_rejected() {
    let server = server(&half()).await;
    let mut early = process(&server, "early", "start").await;
    let old = early.accept_plan().await;
    server
        .control
        .publish(resolved(&[policy("one", &[("a", &[])], percent("10%"))]));
    early.accept_plan().await;
    let mut late = process(&server, "late", "start").await;
    late.accept_plan().await;
    late.acknowledge(old.version).await;
    late.report(vec![count(&old, "", 100, 100)]).await;
    server
        .wait_for_metric(r#"spoor_control_rejected_messages_total{reason="NeverSent"} 2"#)
        .await;
    assert_eq!(counts(&server), (0, 0));
}

#[tokio::test]
async fn streams_of_an_instance_are_bounded() {
    let server = server(&half()).await;
    let mut open = vec![];
    for start in 0..16 {
        let mut client = process(&server, "pod-1", &start.to_string()).await;
        client.accept_plan().await;
        open.push(client);
    }
    let mut surplus = process(&server, "pod-1", "16").await;
    let code = surplus.end().await.unwrap_err().code();
    assert_eq!(code, Code::ResourceExhausted);
    server
        .wait_for_metric(
            r#"spoor_control_refused_total{endpoint="Stream",reason="TooManyStreams"} 1"#,
        )
        .await;
    server.wait_for_metric("spoor_control_subscribers 16").await;
    drop(open.pop());
    server.wait_for_metric("spoor_control_subscribers 15").await;
    process(&server, "pod-1", "17").await.accept_plan().await;
}
