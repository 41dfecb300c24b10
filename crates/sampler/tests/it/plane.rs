//! A control plane that sends the rules that a test gives it.

use std::{net::SocketAddr, time::Duration};

use spoor_policy::{
    Namespace, OwnedTailPlace, PolicyName, Rule, RuleCondition, RuleName, TailPolicy, TailTable,
};
use spoor_proto::spoor::{
    control::v1::{
        self as wire, ControlMessage, SamplerHello, SamplerMessage, TailCount, TailReport,
        TailRules, control_message,
        sampler_message::Message,
        tail_rule::Condition,
        tail_rule_stream_server::{TailRuleStream, TailRuleStreamServer},
    },
    sampler::v1::Rings,
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

/// Long enough for any machine. Only a failing test waits for all of it.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Plane {
    pub address: SocketAddr,
    streams: mpsc::Receiver<Connected>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

pub struct Connected {
    incoming: Streaming<SamplerMessage>,
    outgoing: mpsc::Sender<Result<ControlMessage, Status>>,
}

struct Accept(mpsc::Sender<Connected>);

#[tonic::async_trait]
impl TailRuleStream for Accept {
    type SubscribeStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SamplerMessage>>,
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
    pub async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = listen(address).await;
        let address = listener.local_addr().unwrap();
        let (accepted, streams) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            let serving = Server::builder()
                .add_service(TailRuleStreamServer::new(Accept(accepted)))
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

/// A port that was used before may take a moment to be free.
pub async fn listen(address: SocketAddr) -> TcpListener {
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
    async fn receive(&mut self) -> Message {
        let message = timeout(DEADLINE, self.incoming.message())
            .await
            .expect("a message in time");
        message.unwrap().expect("not the end").message.unwrap()
    }

    pub async fn hello(&mut self) -> SamplerHello {
        match self.receive().await {
            Message::Hello(hello) => hello,
            other => panic!("expected a hello, not {other:?}"),
        }
    }

    pub async fn push(&self, rules: TailRules) {
        self.send(control_message::Message::Rules(rules)).await;
    }

    pub async fn push_rings(&self, rings: Rings) {
        self.send(control_message::Message::Rings(rings)).await;
    }

    async fn send(&self, message: control_message::Message) {
        let message = Some(message);
        let message = ControlMessage { message };
        self.outgoing.send(Ok(message)).await.unwrap();
    }

    /// The next message that is not a report.
    pub async fn response(&mut self) -> Message {
        loop {
            match self.receive().await {
                Message::Report(_) => {}
                other => return other,
            }
        }
    }

    /// The version of the next acknowledgement.
    pub async fn acknowledged(&mut self) -> u64 {
        match self.response().await {
            Message::Acknowledgement(acknowledged) => acknowledged.version.unwrap().sequence,
            other => panic!("expected an acknowledgement, not {other:?}"),
        }
    }

    /// The counts in the reports that are left, until the sampler ends the stream.
    pub async fn remaining_counts(&mut self) -> Vec<TailCount> {
        let mut counts = Vec::new();
        loop {
            let received = timeout(DEADLINE, self.incoming.message()).await;
            let Some(received) = received.expect("the end in time").unwrap() else {
                return counts;
            };
            if let Some(Message::Report(report)) = received.message {
                counts.extend(report.counts);
            }
        }
    }

    /// The next report that matches.
    pub async fn report(&mut self, matches: impl Fn(&TailReport) -> bool) -> TailReport {
        loop {
            match self.receive().await {
                Message::Report(report) if matches(&report) => return report,
                _ => {}
            }
        }
    }
}

/// Rules that keep traces with errors, and this share of the others.
pub fn keep_errors(sequence: u64, otherwise: &str) -> TailRules {
    let namespace = Namespace::default();
    let rule = Rule {
        name: RuleName::new("failed").unwrap(),
        condition: RuleCondition::Error,
    };
    let tail = TailPolicy::new(vec![rule], otherwise.parse().unwrap()).unwrap();
    let otherwise_millionths = tail.otherwise().millionths();
    let name = PolicyName::new("errors").unwrap();
    let places = [(OwnedTailPlace::Namespace, name, tail)];
    let table = TailTable::new(namespace.clone(), places).unwrap();
    let rule = wire::TailRule {
        name: "failed".to_owned(),
        condition: Some(Condition::Error(wire::tail_rule::Error {})),
    };
    let policy = wire::TailPolicy {
        name: "errors".to_owned(),
        places: vec![wire::TailPlace::default()],
        rules: vec![rule],
        otherwise_millionths,
    };
    TailRules {
        version: Some(wire::Version { epoch: 1, sequence }),
        digest: table.digest(&namespace).0.to_be_bytes().to_vec(),
        namespace: namespace.to_string(),
        policies: vec![policy],
    }
}
