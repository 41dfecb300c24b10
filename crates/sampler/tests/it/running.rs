//! A sampler in the test's process.

use std::{net::SocketAddr, path::Path, time::Duration};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use reqwest::{Client, Response};
use spoor_sampler::{Sampler, SamplerArgs, SamplerError, SamplerSettings};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::plane::DEADLINE;

/// A running sampler.
pub struct Running {
    pub address: SocketAddr,
    pub ops: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SamplerError>>,
}

/// Options for short waits and free ports.
pub fn args() -> SamplerArgs {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    SamplerArgs {
        listen: any_port,
        ops_listen: any_port,
        decision_wait: Duration::from_millis(100),
        max_trace_duration: Duration::from_secs(2),
        memory: 64 << 20,
        journal: None,
        journal_size: 256 << 20,
        decide_at_shutdown: false,
        namespace: None,
        stack: String::new(),
        peers: None,
        peers_token_file: None,
        peers_listen: any_port,
    }
}

pub fn args_with_journal(folder: &Path) -> SamplerArgs {
    SamplerArgs {
        journal: Some(folder.to_owned()),
        ..args()
    }
}

/// The settings of an instance in front of a receiver, with the rules of a control plane, if any.
pub fn settings(
    args: SamplerArgs,
    instance: &str,
    receiver: SocketAddr,
    plane: Option<SocketAddr>,
) -> SamplerSettings {
    let settings = args.settings(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(format!("http://{receiver}")),
        "SPOOR_CONTROL_ENDPOINT" => plane.map(|plane| format!("http://{plane}")),
        "OTEL_RESOURCE_ATTRIBUTES" => Some(format!("service.instance.id={instance}")),
        _ => None,
    });
    settings.unwrap()
}

impl Running {
    /// Starts a sampler in front of a receiver, with the rules of a control plane, if any.
    pub async fn start(args: SamplerArgs, receiver: SocketAddr, plane: Option<SocketAddr>) -> Self {
        Self::start_with(settings(args, "sampler-0", receiver, plane))
    }

    pub fn start_with(settings: SamplerSettings) -> Self {
        let sampler = Sampler::start(settings).unwrap();
        let (address, ops) = (sampler.address().unwrap(), sampler.ops_address().unwrap());
        let stop = CancellationToken::new();
        let task = tokio::spawn(sampler.run(stop.clone()));
        Self {
            address,
            ops,
            stop,
            task,
        }
    }

    pub async fn send(&self, request: &ExportTraceServiceRequest) {
        let response = self.post("/v1/traces", request.encode_to_vec()).await;
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
    }

    pub async fn post(&self, path: &str, body: Vec<u8>) -> Response {
        let request = Client::new()
            .post(format!("http://{}{path}", self.address))
            .header("content-type", "application/x-protobuf")
            .body(body);
        request.send().await.unwrap()
    }

    /// A page of the ops port.
    pub async fn ops(&self, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("http://{}{path}", self.ops));
        let response = response.await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The value of a metric, by its name with all labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (status, metrics) = self.ops("/metrics").await;
        assert_eq!(status, 200);
        let mut values = metrics.lines().filter_map(|line| line.rsplit_once(' '));
        let (_, value) = values.find(|(metric, _)| *metric == name)?;
        value.parse().ok()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        let ended = timeout(DEADLINE, self.task).await;
        ended.expect("it stops").unwrap().unwrap();
    }
}

/// Waits until a condition is true.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
