//! A control plane whose messages a test chooses, and the client under test.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use spoor_policy::Probability;
use spoor_proto::spoor::control::v1::{
    ClientMessage, Hello, Plan, Report, ServerMessage,
    client_message::Message as FromClient,
    policy_stream_server::{PolicyStream, PolicyStreamServer},
    server_message::Message as ToClient,
};
use spoor_telemetry::{
    batch::SpanCounts,
    control_stream::{self, ControlStream, Credentials, Intervals},
    faults::Faults,
    sampler::{Live, LiveSampler},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::sampler::{phase, plan, probability, root};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// A control plane whose messages the test receives and sends.
pub struct Plane {
    pub address: SocketAddr,
    streams: mpsc::Receiver<Connected>,
    pub stop: CancellationToken,
    server: JoinHandle<()>,
}

pub struct Connected {
    pub incoming: Streaming<ClientMessage>,
    outgoing: mpsc::Sender<Result<ServerMessage, Status>>,
}

struct Accept(mpsc::Sender<Connected>);

#[tonic::async_trait]
impl PolicyStream for Accept {
    type SubscribeStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (outgoing, messages) = mpsc::channel(16);
        let connected = Connected {
            incoming: request.into_inner(),
            outgoing,
        };
        self.0
            .send(connected)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Plane {
    pub async fn start(address: SocketAddr) -> Self {
        let listener = listen(address).await;
        let address = listener.local_addr().unwrap();
        let (accepted, streams) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            let serving = Server::builder()
                .add_service(PolicyStreamServer::new(Accept(accepted)))
                .serve_with_incoming(TcpListenerStream::new(listener));
            stopped.run_until_cancelled(serving).await;
        });
        Self {
            address,
            streams,
            stop,
            server,
        }
    }

    pub async fn next(&mut self) -> Connected {
        timeout(DEADLINE, self.streams.recv())
            .await
            .expect("a stream in time")
            .unwrap()
    }

    /// Stops immediately, like a killed process.
    pub async fn kill(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

/// The port of a plane that was killed may take a moment to be free.
async fn listen(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if Instant::now() > deadline => panic!("{address}: {error}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Connected {
    pub async fn receive(&mut self) -> FromClient {
        let message = timeout(DEADLINE, self.incoming.message())
            .await
            .expect("a message in time");
        message.unwrap().expect("not the end").message.unwrap()
    }

    pub async fn hello(&mut self) -> Hello {
        match self.receive().await {
            FromClient::Hello(hello) => hello,
            other => panic!("expected a hello, not {other:?}"),
        }
    }

    /// The next message that is not a report.
    pub async fn next_message(&mut self) -> FromClient {
        loop {
            match self.receive().await {
                FromClient::Report(_) => {}
                other => return other,
            }
        }
    }

    pub async fn report(&mut self, matches: impl Fn(&Report) -> bool) -> Report {
        loop {
            match self.receive().await {
                FromClient::Report(report) if matches(&report) => return report,
                _ => {}
            }
        }
    }

    pub async fn push(&self, plan: Plan) {
        self.send(ToClient::Plan(plan)).await;
    }

    pub async fn end(self, status: Status) {
        self.outgoing.send(Err(status)).await.unwrap();
    }

    pub async fn send(&self, message: ToClient) {
        self.outgoing
            .send(Ok(ServerMessage {
                message: Some(message),
            }))
            .await
            .unwrap();
    }
}

pub struct Client {
    pub live: Arc<Live>,
    pub faults: Arc<Faults>,
    pub stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Client {
    pub fn start(address: SocketAddr) -> Self {
        let (live, faults) = (Arc::new(Live::default()), Arc::new(Faults::default()));
        let stop = CancellationToken::new();
        let stream = ControlStream {
            endpoint: format!("http://{address}").parse().unwrap(),
            credentials: Credentials::default(),
            service: "service-a".parse().unwrap(),
            instance: "one".to_owned(),
            start: "start".to_owned(),
            live: Arc::clone(&live),
            faults: Arc::clone(&faults),
            spans: Arc::new(SpanCounts::default()),
            intervals: Intervals {
                report: Duration::from_millis(20),
                heartbeat: Duration::from_millis(200),
                ..Intervals::default()
            },
        };
        let running = tokio::spawn(control_stream::run(stream, stop.clone()));
        Self {
            live,
            faults,
            stop,
            running,
        }
    }

    /// Starts a trace and returns whether it is kept.
    pub fn sample_root(&self) -> bool {
        let sampler = LiveSampler::new(Arc::clone(&self.live), Probability::ALWAYS);
        root(&sampler, 1, "GET /").decision
            == opentelemetry_sdk::trace::SamplingDecision::RecordAndSample
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.running)
            .await
            .expect("it stops")
            .unwrap();
    }
}

pub fn everything(sequence: u64) -> Plan {
    plan(sequence, vec![phase(Some(probability(1_000_000)), &[])])
}

pub fn nothing(sequence: u64) -> Plan {
    plan(sequence, vec![phase(Some(probability(0)), &[])])
}

pub async fn plane() -> Plane {
    Plane::start(SocketAddr::from(([127, 0, 0, 1], 0))).await
}

pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}
