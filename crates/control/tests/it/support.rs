//! A control plane with all its endpoints, and a client of the stream.

pub mod sampler;

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use prometheus_client::{encoding::text::encode, registry::Registry};
use spoor_control::{Control, ControlSettings, Instance};
use spoor_policy::{
    Policy, PolicyFields, PolicyKey, Resolution, Strategy, Target, TracesPerSecond, resolve,
};
use spoor_proto::spoor::control::v1::{
    self as proto, ClientMessage, ServerMessage, client_message::Message,
    policy_stream_client::PolicyStreamClient, server_message,
};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Server, server::TcpIncoming},
};

pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A control plane that listens on port 0.
pub struct TestServer {
    pub control: Control,
    pub http: String,
    pub grpc: String,
    pub shutdown: CancellationToken,
    pub grpc_server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl TestServer {
    /// A control plane with nothing published.
    pub async fn empty(settings: ControlSettings) -> Self {
        let shutdown = settings.shutdown.clone();
        let control = Control::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = format!("http://{}", listener.local_addr().unwrap());
        let router = control
            .sampling_http()
            .merge(control.metrics_http())
            .into_make_service_with_connect_info::<SocketAddr>();
        let stop = shutdown.clone().cancelled_owned();
        tokio::spawn(
            axum::serve(listener, router)
                .with_graceful_shutdown(stop)
                .into_future(),
        );
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let grpc = format!("http://{}", incoming.local_addr().unwrap());
        let server = Server::builder()
            .add_service(control.policy_stream())
            .add_service(control.tail_rule_stream())
            .add_service(control.sampling_grpc())
            .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        Self {
            control,
            http,
            grpc,
            shutdown,
            grpc_server: tokio::spawn(server),
        }
    }

    pub async fn with(policies: &[Policy]) -> Self {
        let server = Self::empty(ControlSettings::default()).await;
        server.control.publish(resolved(policies));
        server
    }

    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.grpc.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub async fn client(&self, service: &str, instance: &str) -> Client {
        let hello = proto::Hello {
            service: service.to_owned(),
            instance: instance.to_owned(),
            ..Default::default()
        };
        self.client_with(Message::Hello(hello)).await.unwrap()
    }

    pub async fn client_with(&self, first: Message) -> Result<Client, Status> {
        self.client_as("", first).await
    }

    /// A client with a token, unless it is empty.
    pub async fn client_as(&self, token: &str, first: Message) -> Result<Client, Status> {
        subscribe(self.channel().await, token, first).await
    }

    pub fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.control.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    /// Waits until the metrics contain a line.
    pub async fn wait_for_metric(&self, line: &str) {
        eventually(line, || self.metrics().lines().any(|it| it == line)).await;
    }
}

/// Opens a stream, with a token unless it is empty, and sends its first message.
pub async fn subscribe(channel: Channel, token: &str, first: Message) -> Result<Client, Status> {
    let (outgoing, messages) = mpsc::channel(64);
    let mut client = PolicyStreamClient::new(channel);
    let mut request = Request::new(ReceiverStream::new(messages));
    if !token.is_empty() {
        let authorization = format!("Bearer {token}").parse().unwrap();
        request
            .metadata_mut()
            .insert("authorization", authorization);
    }
    let subscribed = client.subscribe(request);
    outgoing
        .send(ClientMessage {
            message: Some(first),
        })
        .await
        .unwrap();
    Ok(Client {
        outgoing,
        incoming: subscribed.await?.into_inner(),
    })
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub struct Client {
    pub outgoing: mpsc::Sender<ClientMessage>,
    pub incoming: Streaming<ServerMessage>,
}

impl Client {
    pub async fn next(&mut self) -> Result<Option<server_message::Message>, Status> {
        let message = within(self.incoming.message()).await?;
        Ok(message.and_then(|it| it.message))
    }

    pub async fn plan(&mut self) -> proto::Plan {
        loop {
            match self.next().await {
                Ok(Some(server_message::Message::Plan(plan))) => return plan,
                Ok(Some(server_message::Message::Faults(_))) => {}
                other => panic!("expected a plan, not {other:?}"),
            }
        }
    }

    pub async fn faults(&mut self) -> Vec<proto::Fault> {
        loop {
            match self.next().await {
                Ok(Some(server_message::Message::Faults(faults))) => return faults.faults,
                Ok(Some(server_message::Message::Plan(_))) => {}
                other => panic!("expected faults, not {other:?}"),
            }
        }
    }

    /// Waits for the end of the stream.
    pub async fn end(&mut self) -> Result<(), Status> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    pub async fn send(&self, message: Message) {
        let message = ClientMessage {
            message: Some(message),
        };
        self.outgoing.send(message).await.unwrap();
    }

    pub async fn acknowledge(&self, version: Option<proto::Version>) {
        self.send(Message::Acknowledgement(proto::Acknowledgement { version }))
            .await;
    }

    /// Receives the next plan and acknowledges it.
    pub async fn accept_plan(&mut self) -> proto::Plan {
        let plan = self.plan().await;
        self.acknowledge(plan.version).await;
        plan
    }

    pub async fn report(&self, counts: Vec<proto::Count>) {
        let report = proto::Report {
            counts,
            ..Default::default()
        };
        self.send(Message::Report(report)).await;
    }
}

/// A client that polls every 600 ms on one connection, until it is dropped.
pub struct Poller(JoinHandle<()>);

impl Poller {
    pub fn start(server: &TestServer, service: &str) -> Self {
        let url = format!("{}/sampling?service={service}", server.http);
        Self(tokio::spawn(async move {
            let http = reqwest::Client::new();
            loop {
                http.get(&url).send().await.unwrap().bytes().await.unwrap();
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
        }))
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub fn count(plan: &proto::Plan, operation: &str, started: u64, sampled: u64) -> proto::Count {
    let now = Timestamp::now().as_millisecond();
    proto::Count {
        version: plan.version,
        operation: operation.to_owned(),
        first_unix_millis: now,
        last_unix_millis: now,
        started,
        sampled,
    }
}

pub fn policy(name: &str, services: &[(&str, &[&str])], head: Strategy) -> Policy {
    expiring(name, services, head, None)
}

pub fn expiring(
    name: &str,
    services: &[(&str, &[&str])],
    head: Strategy,
    expires_at: Option<Timestamp>,
) -> Policy {
    let targets = services.iter().map(|(service, operations)| Target {
        service: service.parse().unwrap(),
        operations: operations.iter().map(|it| it.parse().unwrap()).collect(),
    });
    let targets = targets.collect();
    let created = Timestamp::UNIX_EPOCH;
    Policy::new(PolicyFields {
        key: key(name),
        priority: 0,
        created,
        targets,
        head: Some(head),
        tail: None,
        expires_at,
    })
    .unwrap()
}

pub fn percent(text: &str) -> Strategy {
    Strategy::Probability(text.parse().unwrap())
}

pub fn limit(per_second: i64) -> Strategy {
    Strategy::RateLimit(TracesPerSecond::new(per_second).unwrap())
}

pub fn key(name: &str) -> PolicyKey {
    PolicyKey {
        namespace: Default::default(),
        name: name.parse().unwrap(),
    }
}

pub fn instance(service: &str, id: &str) -> Instance {
    Instance {
        namespace: Default::default(),
        service: service.parse().unwrap(),
        id: id.to_owned(),
    }
}

pub fn resolved(policies: &[Policy]) -> Resolution {
    resolve(policies, Timestamp::now())
}

pub async fn within<F: Future>(future: F) -> F::Output {
    timeout(TIMEOUT, future).await.expect("timed out")
}

/// Waits until a condition holds.
pub async fn eventually(description: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {description}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
