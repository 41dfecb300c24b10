//! A client of the stream of tail rules, and policies for it.

use jiff::Timestamp;
use spoor_policy::{
    Policy, PolicyFields, PolicyKey, Rule, RuleCondition, Strategy, TailPolicy, Target,
};
use spoor_proto::spoor::{
    control::v1::{
        self as proto, ControlMessage, SamplerHello, SamplerMessage, TailRules, control_message,
        sampler_message::Message, tail_rule_stream_client::TailRuleStreamClient,
    },
    sampler::v1::Rings,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use super::{TestServer, within};

/// A sampler with an open stream.
pub struct Sampler {
    outgoing: mpsc::Sender<SamplerMessage>,
    incoming: Streaming<ControlMessage>,
}

/// The hello of a sampler's process that holds no rules.
pub fn hello(instance: &str, start: &str) -> SamplerHello {
    SamplerHello {
        stack: "tracing".to_owned(),
        instance: instance.to_owned(),
        start: start.to_owned(),
        ..Default::default()
    }
}

impl TestServer {
    pub async fn sampler(&self, instance: &str) -> Sampler {
        let first = Message::Hello(hello(instance, "start-1"));
        self.sampler_with("", first).await.unwrap()
    }

    /// A sampler with a token, unless it is empty.
    pub async fn sampler_with(&self, token: &str, first: Message) -> Result<Sampler, Status> {
        Sampler::subscribe(self.channel().await, token, Some(first)).await
    }

    /// A stream without a hello.
    pub async fn silent_sampler(&self) -> Sampler {
        let subscribed = Sampler::subscribe(self.channel().await, "", None).await;
        subscribed.unwrap()
    }
}

impl Sampler {
    async fn subscribe(
        channel: Channel,
        token: &str,
        first: Option<Message>,
    ) -> Result<Self, Status> {
        let (outgoing, messages) = mpsc::channel(64);
        let mut client = TailRuleStreamClient::new(channel);
        let mut request = Request::new(ReceiverStream::new(messages));
        if !token.is_empty() {
            let authorization = format!("Bearer {token}").parse().unwrap();
            request
                .metadata_mut()
                .insert("authorization", authorization);
        }
        if first.is_some() {
            let first = SamplerMessage { message: first };
            outgoing.send(first).await.unwrap();
        }
        let incoming = client.subscribe(request).await?.into_inner();
        Ok(Self { outgoing, incoming })
    }

    /// Receives the next message, which has to be rules.
    pub async fn rules(&mut self) -> TailRules {
        match self.next().await {
            Some(control_message::Message::Rules(rules)) => rules,
            other => panic!("expected rules, not {other:?}"),
        }
    }

    /// Receives the next message, which has to be rings.
    pub async fn rings(&mut self) -> Rings {
        match self.next().await {
            Some(control_message::Message::Rings(rings)) => rings,
            other => panic!("expected rings, not {other:?}"),
        }
    }

    async fn next(&mut self) -> Option<control_message::Message> {
        let received = within(self.incoming.message()).await.unwrap();
        received.expect("the stream ended").message
    }

    /// Receives the next rules and acknowledges them.
    pub async fn accept_rules(&mut self) -> TailRules {
        let rules = self.rules().await;
        let version = rules.version;
        self.send(Message::Acknowledgement(proto::Acknowledgement { version }))
            .await;
        rules
    }

    /// Waits for the end of the stream.
    pub async fn end(&mut self) -> Result<(), Status> {
        while within(self.incoming.message()).await?.is_some() {}
        Ok(())
    }

    pub async fn send(&self, message: Message) {
        let message = SamplerMessage {
            message: Some(message),
        };
        self.outgoing.send(message).await.unwrap();
    }

    pub async fn report(&self, counts: Vec<proto::TailCount>) {
        let unix_millis = Timestamp::now().as_millisecond();
        let report = proto::TailReport {
            counts,
            unix_millis,
        };
        self.send(Message::Report(report)).await;
    }
}

/// A policy for a service that keeps errors, and some of the rest.
pub fn tail(name: &str, service: &str, otherwise: &str) -> Policy {
    tail_in("default", name, service, otherwise)
}

pub fn tail_in(namespace: &str, name: &str, service: &str, otherwise: &str) -> Policy {
    let errors = Rule {
        name: "errors".parse().unwrap(),
        condition: RuleCondition::Error,
    };
    let tail = TailPolicy::new(vec![errors], otherwise.parse().unwrap()).unwrap();
    policy(namespace, name, service, None, Some(tail))
}

/// A policy for the head of a service.
pub fn head(name: &str, service: &str, head: Strategy) -> Policy {
    policy("default", name, service, Some(head), None)
}

fn policy(
    namespace: &str,
    name: &str,
    service: &str,
    head: Option<Strategy>,
    tail: Option<TailPolicy>,
) -> Policy {
    Policy::new(PolicyFields {
        key: PolicyKey {
            namespace: namespace.parse().unwrap(),
            name: name.parse().unwrap(),
        },
        priority: 0,
        created: Timestamp::UNIX_EPOCH,
        targets: vec![Target {
            service: service.parse().unwrap(),
            operations: vec![],
        }],
        head,
        tail,
        expires_at: None,
    })
    .unwrap()
}

/// The count of a policy's decisions: traces kept as errors, and unmatched ones with those kept.
pub fn tail_count(
    rules: &TailRules,
    policy: &str,
    errors: u64,
    unmatched: (u64, u64),
) -> proto::TailCount {
    proto::TailCount {
        version: rules.version,
        policy: policy.to_owned(),
        decided: errors + unmatched.0,
        rules: vec![proto::RuleCount {
            rule: "errors".to_owned(),
            kept: errors,
        }],
        unmatched: unmatched.0,
        unmatched_kept: unmatched.1,
    }
}
