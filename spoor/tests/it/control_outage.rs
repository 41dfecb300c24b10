//! An outage of the control plane: no request fails, no rate changes, and policies changed during
//! the outage arrive afterwards.

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use spoor_control::{Control, ControlSettings};
use spoor_policy::resolve;
use tokio::{net::TcpListener, process::Child, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

use crate::lab::{DEADLINE, command, eventually, policy, request};

/// A control plane in this process, so that it can stop while the services keep running.
struct ControlPlane {
    control: Control,
    address: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl ControlPlane {
    async fn start(address: SocketAddr, probability: &str) -> Self {
        let stop = CancellationToken::new();
        let control = Control::new(ControlSettings {
            shutdown: stop.clone(),
            ..ControlSettings::default()
        });
        publish(&control, probability);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Server::builder().add_service(control.policy_stream());
        let stopped = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            router
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), stopped)
                .await
                .unwrap();
        });
        Self {
            control,
            address,
            stop,
            server,
        }
    }

    async fn stop_and_wait(self) -> SocketAddr {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.server)
            .await
            .expect("ends in time")
            .unwrap();
        self.address
    }
}

fn publish(control: &Control, probability: &str) {
    let text = policy("service-a", probability);
    let manifests = spoor_api::read::policies(&text, "test").unwrap();
    let now = Timestamp::now();
    let policies: Vec<_> = manifests
        .iter()
        .map(|it| it.policy.validate(now).unwrap())
        .collect();
    control.publish(resolve(&policies, now));
}

fn run(service: &str, listen: SocketAddr, plane: SocketAddr, more: &[(&str, String)]) -> Child {
    command()
        .args(["run", service])
        .env("SPOOR_LISTEN", listen.to_string())
        .env("SPOOR_OPS_LISTEN", "127.0.0.1:0")
        .env("SPOOR_CONTROL_ENDPOINT", format!("http://{plane}"))
        .env("OTEL_TRACES_EXPORTER", "none")
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn control_outage_changes_no_rate() {
    let [plane, a, b] = spoor_testing::ports::free();
    let plane = ControlPlane::start(plane, "0%").await;
    let _service_b = run("service-b", b, plane.address, &[]);
    let to_b = [("SPOOR_SERVICE_B_URL", format!("http://{b}"))];
    let _service_a = run("service-a", a, plane.address, &to_b);
    let http = reqwest::Client::new();
    let url = format!("http://{a}");
    let send = || request(&http, &url);
    let sampled = eventually("the policy is in force", send, |sampled| {
        *sampled == Ok(false)
    })
    .await;
    assert_eq!(sampled, Ok(false));

    let load = Load::start(url.clone());
    load.wait_for_responses(100).await;
    let address = plane.stop_and_wait().await;
    load.wait_for_responses(300).await;
    assert_eq!(load.sampled(), 0, "the rate stays during the outage");
    let plane = ControlPlane::start(address, "0%").await;
    let back = async || {
        plane
            .control
            .instances()
            .iter()
            .filter(|it| it.is_current)
            .count()
    };
    eventually("both are back", back, |current| *current == 2).await;
    load.wait_for_responses(100).await;
    assert_eq!(load.sampled(), 0, "the rate stays after the outage");

    let address = plane.stop_and_wait().await;
    load.wait_for_responses(100).await;
    let _plane = ControlPlane::start(address, "100%").await;
    let sampled = async || load.sampled();
    eventually("the changed policy arrives", sampled, |sampled| {
        *sampled > 0
    })
    .await;
    assert_eq!(load.end(), 0, "requests that failed");
}

/// Sends requests one after the other.
struct Load {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    unsampled: AtomicU64,
    sampled: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    fn start(url: String) -> Self {
        let counts = Arc::new(Counts::default());
        let counted = counts.clone();
        let task = tokio::spawn(async move {
            let http = reqwest::Client::new();
            loop {
                let count = match request(&http, &url).await {
                    Ok(true) => &counted.sampled,
                    Ok(false) => &counted.unsampled,
                    Err(_) => &counted.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { counts, task }
    }

    fn sampled(&self) -> u64 {
        self.counts.sampled.load(Ordering::Relaxed)
    }

    /// Waits for this many more responses whose traces are not sampled.
    async fn wait_for_responses(&self, count: u64) {
        let unsampled = async || self.counts.unsampled.load(Ordering::Relaxed);
        let goal = unsampled().await + count;
        eventually("responses", unsampled, |unsampled| *unsampled >= goal).await;
    }

    fn end(self) -> u64 {
        self.task.abort();
        self.counts.failed.load(Ordering::Relaxed)
    }
}
