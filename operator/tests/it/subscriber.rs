//! A client of Spoor's policy stream that sends what a test specifies, valid or not.
#![allow(dead_code)] // The tests and the benchmarks each use a part.

use std::{net::SocketAddr, time::Duration};

use spoor_proto::spoor::control::v1::{
    Acknowledgement, ClientMessage, Count, Hello, Plan, Report, ServerMessage, Strategy, Version,
    client_message::Message, policy_stream_client::PolicyStreamClient, server_message, strategy,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

/// The deadline for a plan. It is long, since it should fail a test that hangs, not one on a slow
/// machine.
const PLAN_DEADLINE: Duration = Duration::from_secs(60);

/// An open stream.
pub struct Subscriber {
    outgoing: mpsc::Sender<ClientMessage>,
    incoming: Streaming<ServerMessage>,
}

/// The identity that a client claims when it opens a stream.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    pub token: Option<&'a str>,
    pub service: &'a str,
    pub instance: &'a str,
}

impl Subscriber {
    /// Sends the hello, and receives the first plan.
    pub async fn subscribe(
        address: SocketAddr,
        ca_pem: &str,
        claim: Claim<'_>,
    ) -> Result<(Self, Plan), Status> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ca_pem))
            .domain_name("localhost");
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await;
        let channel = channel.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let (outgoing, messages) = mpsc::channel(16);
        let hello = Hello {
            service: claim.service.to_owned(),
            instance: claim.instance.to_owned(),
            ..Hello::default()
        };
        outgoing.send(message(Message::Hello(hello))).await.unwrap();
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(token) = claim.token {
            let bearer = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        let response = PolicyStreamClient::new(channel).subscribe(request).await?;
        let mut this = Self {
            outgoing,
            incoming: response.into_inner(),
        };
        let plan = this.plan().await?;
        Ok((this, plan))
    }

    /// Receives the next plan.
    pub async fn plan(&mut self) -> Result<Plan, Status> {
        loop {
            let message = tokio::time::timeout(PLAN_DEADLINE, self.incoming.message()).await;
            let message = message.map_err(|_| Status::deadline_exceeded("no plan received"))??;
            match message
                .ok_or_else(|| Status::aborted("the stream ended"))?
                .message
            {
                Some(server_message::Message::Plan(plan)) => return Ok(plan),
                _ => continue,
            }
        }
    }

    /// Acknowledges plans until one has this default probability. Returns that plan.
    pub async fn acknowledge_until(&mut self, millionths: u32) -> Plan {
        loop {
            let plan = self.plan().await.unwrap();
            self.acknowledge(&plan).await;
            if probability(&plan) == Some(millionths) {
                return plan;
            }
        }
    }

    /// Acknowledges this plan.
    pub async fn acknowledge(&self, plan: &Plan) {
        let version = plan.version;
        self.send(Message::Acknowledgement(Acknowledgement { version }))
            .await;
    }

    /// Reports the root decisions under the plan's default since the start of the process.
    pub async fn report(&self, plan: &Plan, started: u64, sampled: u64) {
        let now = jiff::Timestamp::now().as_millisecond();
        let count = Count {
            version: plan.version,
            operation: String::new(),
            first_unix_millis: now,
            last_unix_millis: now,
            started,
            sampled,
        };
        let report = Report {
            counts: vec![count],
            ..Report::default()
        };
        self.send(Message::Report(report)).await;
    }

    async fn send(&self, kind: Message) {
        let _ = self.outgoing.send(message(kind)).await;
    }
}

/// The default probability in the plan's first phase, in millionths.
pub fn probability(plan: &Plan) -> Option<u32> {
    match plan.phases.first()?.default.as_ref()? {
        Strategy {
            strategy: Some(strategy::Strategy::ProbabilityMillionths(millionths)),
        } => Some(*millionths),
        _ => None,
    }
}

/// The plan with a version that was never published.
pub fn version_ahead_of(plan: &Plan) -> Plan {
    let version = plan.version.unwrap();
    Plan {
        version: Some(Version {
            sequence: version.sequence + 1000,
            ..version
        }),
        ..plan.clone()
    }
}

fn message(kind: Message) -> ClientMessage {
    ClientMessage {
        message: Some(kind),
    }
}
