//! Tail rules that samplers apply, with this test in place of the samplers.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use spoor_proto::spoor::{
    control::v1::{
        Acknowledgement, ControlMessage, RuleCount, SamplerHello, SamplerMessage, TailCount,
        TailReport, TailRules, control_message, sampler_message::Message,
        tail_rule_stream_client::TailRuleStreamClient,
    },
    sampler::v1::Rings,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use super::{message, reason, tail::Stack};
use crate::{
    apiserver::{self, Namespace, PodIdentity, eventually},
    role::{
        MAX_WAIT, Policies, chart,
        sampling_policy::{SamplingPolicy, condition},
    },
};

const AUDIENCE: &str = "spoor.dev";
const REFUSED: &str = "spoor_control_refused_total";

/// A sampler with an open stream, the first rules that it received, and the rings before them.
struct Sampler {
    outgoing: mpsc::Sender<SamplerMessage>,
    rules: TailRules,
    rings: Option<Rings>,
    incoming: Streaming<ControlMessage>,
}

impl Sampler {
    /// Subscribes with the token of a pod, and claims to be an instance that does not exist.
    async fn subscribe(policies: &Policies, token: &str) -> Result<Self, Status> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&policies.certificate.ca_pem))
            .domain_name("localhost");
        let address = policies.endpoints().await.stream;
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.unwrap();
        let (outgoing, messages) = mpsc::channel(16);
        let hello = SamplerHello {
            stack: "claimed".to_owned(),
            instance: "claimed-0".to_owned(),
            start: "start-1".to_owned(),
            ..SamplerHello::default()
        };
        outgoing
            .send(sampler_message(Message::Hello(hello)))
            .await
            .unwrap();
        let mut request = Request::new(ReceiverStream::new(messages));
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", bearer);
        let mut client = TailRuleStreamClient::new(channel);
        let mut incoming = client.subscribe(request).await?.into_inner();
        let mut rings = None;
        loop {
            match receive(&mut incoming).await? {
                control_message::Message::Rings(received) => rings = Some(received),
                control_message::Message::Rules(rules) => {
                    return Ok(Self {
                        outgoing,
                        rules,
                        rings,
                        incoming,
                    });
                }
            }
        }
    }

    async fn acknowledge(&self) {
        let version = self.rules.version;
        self.send(Message::Acknowledgement(Acknowledgement { version }))
            .await;
    }

    /// Reports five traces with an error, and 100 others of which ten were kept.
    async fn report(&self) {
        let count = TailCount {
            version: self.rules.version,
            policy: "rules".to_owned(),
            decided: 105,
            rules: vec![RuleCount {
                rule: "errors".to_owned(),
                kept: 5,
            }],
            unmatched: 100,
            unmatched_kept: 10,
        };
        self.send(Message::Report(TailReport {
            counts: vec![count],
            ..TailReport::default()
        }))
        .await;
    }

    async fn send(&self, message: Message) {
        self.outgoing.send(sampler_message(message)).await.unwrap();
    }
}

async fn receive(
    incoming: &mut Streaming<ControlMessage>,
) -> Result<control_message::Message, Status> {
    let received = tokio::time::timeout(MAX_WAIT, incoming.message()).await;
    let received = received.map_err(|_| Status::deadline_exceeded("nothing received"))??;
    let message = received.and_then(|received| received.message);
    message.ok_or_else(|| Status::aborted("the stream ended"))
}

async fn receive_rules(incoming: &mut Streaming<ControlMessage>) -> TailRules {
    match receive(incoming).await.unwrap() {
        control_message::Message::Rules(rules) => rules,
        other => panic!("{other:?}"),
    }
}

fn sampler_message(message: Message) -> SamplerMessage {
    SamplerMessage {
        message: Some(message),
    }
}

/// Returns whether the condition `Programmed` has this reason.
fn has_reason(expected: &'static str) -> impl Fn(&Value) -> bool {
    move |status: &Value| reason(status, "Programmed") == expected
}

/// The token of a Ready pod of the sampler of this stack.
async fn sampler_token(namespace: &Namespace<'_>, stack: &str, ip: &str) -> String {
    let set = format!("{stack}-sampler");
    let name = format!("{set}-0");
    let pod = labelled_pod(namespace, &name, stack, ip).await;
    let owner = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set, "uid": "any",
        "controller": true,
    });
    let owned = Patch::Merge(json!({"metadata": {"ownerReferences": [owner]}}));
    let pods = namespace.api::<Pod>();
    pods.patch(&name, &PatchParams::default(), &owned)
        .await
        .unwrap();
    namespace.pod_token(&pod, AUDIENCE).await
}

/// A Ready pod that has the labels of a sampler of this stack, and no owner.
async fn labelled_pod(namespace: &Namespace<'_>, name: &str, stack: &str, ip: &str) -> PodIdentity {
    let labels = [
        ("app.kubernetes.io/name", "sampler"),
        ("app.kubernetes.io/managed-by", "spoor-operator"),
        ("app.kubernetes.io/instance", stack),
    ];
    namespace.ready_pod(name, &labels, ip).await
}

async fn apply_rules(namespace: &Namespace<'_>) -> SamplingPolicy {
    let spec = json!({
        "tail": {"keep": [{"name": "errors", "error": {}}], "otherwise": "10%"},
    });
    SamplingPolicy::apply_spec(namespace, "rules", spec).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_rules_are_programmed_by_samplers() {
    let test = "tail_rules_are_programmed_by_samplers";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-samplers").await;
    let stack = Stack(&namespace);
    stack.apply("Collector", "Spoor").await;
    stack.report_no_tail("Collector").await;
    let token = sampler_token(&namespace, "tracing", "127.0.0.2").await;
    let policy = apply_rules(&namespace).await;
    let client = chart::account(&namespace, "policies").await;
    let role = Policies::start_with(client, &namespace, "policies-0", |settings| {
        settings.observed_interval = Duration::from_millis(100);
    })
    .await;
    role.endpoints().await;

    let status = policy
        .wait_for("no stream", has_reason("Disconnected"))
        .await;
    assert_eq!(condition(&status, "Programmed")["status"], "Unknown");
    let sampler = Sampler::subscribe(&role, &token).await.unwrap();
    assert_eq!(sampler.rules.namespace, namespace.name);
    let status = policy
        .wait_for("not acknowledged", has_reason("Pending"))
        .await;
    // By the name of its pod, and not by the one that it claims.
    let message = message(&status, "Programmed");
    assert!(
        message.ends_with("waiting for tracing-sampler-0"),
        "{message}"
    );
    sampler.acknowledge().await;
    let status = policy
        .wait_for("acknowledged", has_reason("Programmed"))
        .await;
    assert_eq!(condition(&status, "Programmed")["status"], "True");

    sampler.report().await;
    let status = policy
        .wait_for("decisions", |status| status["tail"]["decided"] == 105)
        .await;
    let tail = &status["tail"];
    assert_eq!(tail["kept"], 15);
    assert_eq!(tail["byRule"], json!([{"name": "errors", "kept": 5}]));
    assert_eq!(tail["otherwise"]["rate"], "10%");
    role.stop().await;
}

/// Samplers get no rules while traces may have spans in the Collector's own sampler, too.
#[tokio::test(flavor = "multi_thread")]
async fn samplers_get_rules_after_a_change_of_engine() {
    let test = "samplers_get_rules_after_a_change_of_engine";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-engines").await;
    let stack = Stack(&namespace);
    stack.apply("Collector", "Spoor").await;
    stack.report("Collector", "0").await;
    let token = sampler_token(&namespace, "tracing", "127.0.0.2").await;
    let policy = apply_rules(&namespace).await;
    let role = Policies::start(&namespace).await;
    policy
        .wait_for("both samplers decide", has_reason("ChangingEngine"))
        .await;
    let mut sampler = Sampler::subscribe(&role, &token).await.unwrap();
    assert!(sampler.rules.policies.is_empty());

    stack.report_no_tail("Collector").await;
    sampler.rules = receive_rules(&mut sampler.incoming).await;
    assert_eq!(sampler.rules.policies.len(), 1);
    sampler.acknowledge().await;
    policy
        .wait_for("acknowledged", has_reason("Programmed"))
        .await;

    stack.report("Collector", "0").await;
    let rules = receive_rules(&mut sampler.incoming).await;
    assert!(rules.policies.is_empty());
    policy
        .wait_for("both samplers decide again", has_reason("ChangingEngine"))
        .await;
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn samplers_receive_the_rings_of_their_stack() {
    let test = "samplers_receive_the_rings_of_their_stack";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-rings").await;
    let stack = Stack(&namespace);
    stack.apply("Collector", "Spoor").await;
    stack.report_rings(1_800_000_000_000, &[1]).await;
    let token = sampler_token(&namespace, "tracing", "127.0.0.2").await;
    let role = Policies::start(&namespace).await;
    // The watch of pods may lag behind the test that has just made one.
    let mut sampler = eventually("a stream", MAX_WAIT, async || {
        let subscribed = Sampler::subscribe(&role, &token).await;
        subscribed.map_err(|status| format!("{status:?}"))
    })
    .await;
    let rings = |generation, members: &[u32]| Rings {
        generation,
        members: members.to_vec(),
    };
    assert_eq!(sampler.rings, Some(rings(1_800_000_000_000, &[1])));

    stack.report_rings(1_800_000_000_001, &[1, 3]).await;
    let received = receive(&mut sampler.incoming).await.unwrap();
    let expected = rings(1_800_000_000_001, &[1, 3]);
    assert_eq!(received, control_message::Message::Rings(expected));
    role.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pods_get_no_tail_rules() {
    let test = "other_pods_get_no_tail_rules";
    let Some(server) = apiserver::shared(test).await else {
        return;
    };
    let namespace = server.namespace("spoor-strangers").await;
    Stack(&namespace).apply("Collector", "Spoor").await;
    apply_rules(&namespace).await;
    let labels = [("spoor.dev/service", "a")];
    let service = namespace.ready_pod("a-0", &labels, "127.0.0.2").await;
    let of_service = namespace.pod_token(&service, AUDIENCE).await;
    let labelled = labelled_pod(&namespace, "tracing-sampler-1", "tracing", "127.0.0.3").await;
    let labelled = namespace.pod_token(&labelled, AUDIENCE).await;
    let of_no_stack = sampler_token(&namespace, "missing", "127.0.0.4").await;
    let role = Policies::start(&namespace).await;
    for (token, reason, count) in [
        (of_service, "NotASampler", 1),
        (labelled, "NotASampler", 2),
        (of_no_stack, "NoStack", 1),
    ] {
        // The watch of pods may lag behind the test that has just made one.
        let status = eventually("a refusal", MAX_WAIT, async || {
            match Sampler::subscribe(&role, &token).await {
                Err(status) if status.code() != Code::Unavailable => Ok(status),
                Err(status) => Err(format!("{status:?}")),
                Ok(_) => Err(format!("accepted: {reason}")),
            }
        })
        .await;
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        assert_eq!(role.count(REFUSED, reason).await, count);
    }
    role.stop().await;
}
