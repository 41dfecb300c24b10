//! Several samplers of a stack.

use std::{net::SocketAddr, path::Path, time::Duration};

use http::Uri;
use prost::Message;
use rstest::rstest;
use spoor_policy::Namespace;
use spoor_proto::spoor::sampler::v1::{
    Envelope, ExchangeRequest, Rings, peers_client::PeersClient,
};
use spoor_sampler::SamplerArgs;
use tempfile::TempDir;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::interceptor::{InterceptedService, Interceptor},
    transport::{Channel, Endpoint},
};

use crate::{
    plane::{Plane, keep_errors},
    receiver::Receiver,
    running::{Running, args, settings, until},
    spans::{policy, spans_of_trace, trace},
};

pub const TRACES: u64 = 20;
pub const STACK: &str = "default/tracing";
const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The samplers of a stack, with the ports and folders that they have across restarts.
pub struct Stack {
    output: SocketAddr,
    peers: [SocketAddr; 3],
    folders: [TempDir; 3],
    /// The folder with the file of the token, `token`.
    secrets: TempDir,
    /// A folder is deleted with its sampler, as an emptyDir is with its pod.
    is_ephemeral: bool,
}

impl Stack {
    pub fn new(output: SocketAddr) -> Self {
        let secrets = TempDir::new().unwrap();
        std::fs::write(secrets.path().join("token"), TOKEN).unwrap();
        Self {
            is_ephemeral: false,
            output,
            peers: spoor_testing::ports::free(),
            folders: [(); 3].map(|()| TempDir::new().unwrap()),
            secrets,
        }
    }

    pub fn without_claims(output: SocketAddr) -> Self {
        Self {
            is_ephemeral: true,
            ..Self::new(output)
        }
    }

    /// Gives the next start of a sampler an empty folder.
    pub fn replace_folder(&mut self, ordinal: usize) {
        self.folders[ordinal] = TempDir::new().unwrap();
    }

    /// The address on which a sampler's peers call it.
    pub fn peer(&self, ordinal: usize) -> SocketAddr {
        self.peers[ordinal]
    }

    pub fn folder(&self, ordinal: usize) -> &Path {
        self.folders[ordinal].path()
    }

    /// A client of a sampler, which sends the token.
    pub async fn client(
        &self,
        ordinal: usize,
    ) -> PeersClient<InterceptedService<Channel, impl Interceptor>> {
        self.client_with(Some(TOKEN), ordinal).await
    }

    async fn client_with(
        &self,
        token: Option<&str>,
        ordinal: usize,
    ) -> PeersClient<InterceptedService<Channel, impl Interceptor>> {
        let value: Option<MetadataValue<Ascii>> =
            token.map(|token| format!("Bearer {token}").parse().unwrap());
        let address = format!("http://{}", self.peers[ordinal]);
        let endpoint = Endpoint::from_shared(address).unwrap();
        let send_token = move |mut request: Request<()>| {
            if let Some(value) = &value {
                let value = value.clone();
                request.metadata_mut().insert("authorization", value);
            }
            Ok::<_, Status>(request)
        };
        let channel = endpoint.connect().await.unwrap();
        PeersClient::with_interceptor(channel, send_token)
    }

    /// Gives a sampler rings from an earlier start.
    pub fn save_rings(&self, ordinal: usize, rings: &Rings) {
        let path = self.folders[ordinal].path().join("rings.binpb");
        std::fs::write(path, rings.encode_to_vec()).unwrap();
    }

    fn saved_rings(&self, ordinal: usize) -> Rings {
        let path = self.folders[ordinal].path().join("rings.binpb");
        Rings::decode(std::fs::read(path).unwrap().as_slice()).unwrap()
    }

    /// Gives all samplers rules from an earlier start.
    pub fn save_rules(&self, otherwise: &str) {
        for folder in &self.folders {
            let path = folder.path().join("tail-rules.binpb");
            std::fs::write(path, keep_errors(1, otherwise).encode_to_vec()).unwrap();
        }
    }

    pub fn start(&self, ordinal: usize, plane: Option<SocketAddr>) -> Running {
        let args = SamplerArgs {
            // Longer than any test: decisions follow the reports of the peers.
            max_trace_duration: Duration::from_secs(60),
            journal: Some(self.folders[ordinal].path().to_owned()),
            decide_at_shutdown: self.is_ephemeral,
            namespace: Some(Namespace::default()),
            stack: "tracing".to_owned(),
            // Replaced below, since the ports do not contain the ordinals.
            peers: Some("127.0.0.1:{ordinal}".to_owned()),
            peers_token_file: Some(self.secrets.path().join("token")),
            peers_listen: self.peers[ordinal],
            ..args()
        };
        let instance = format!("tracing-sampler-{ordinal}");
        let mut settings = settings(args, &instance, self.output, plane);
        let addresses = self.peers.map(|peer| format!("http://{peer}"));
        let addresses = addresses.map(|address| address.parse::<Uri>().unwrap());
        settings.peers.as_mut().unwrap().addresses = addresses.into();
        Running::start_with(settings)
    }

    /// Sends rings to a sampler, as a peer with the ordinal 2.
    async fn send_rings(&self, ordinal: usize, rings: Rings) -> Result<Option<Rings>, Code> {
        self.exchange(ordinal, envelope(ordinal), Some(rings)).await
    }

    async fn exchange(
        &self,
        ordinal: usize,
        envelope: Envelope,
        rings: Option<Rings>,
    ) -> Result<Option<Rings>, Code> {
        let token = Some(TOKEN);
        self.exchange_with(token, ordinal, envelope, rings).await
    }

    async fn exchange_with(
        &self,
        token: Option<&str>,
        ordinal: usize,
        envelope: Envelope,
        rings: Option<Rings>,
    ) -> Result<Option<Rings>, Code> {
        let mut client = self.client_with(token, ordinal).await;
        let request = ExchangeRequest {
            envelope: Some(envelope),
            rings,
        };
        let response = client.exchange(request).await;
        let response = response.map_err(|status| status.code())?;
        Ok(response.into_inner().rings)
    }
}

/// The envelope of a call to a sampler by a peer with the ordinal 2.
fn envelope(to: usize) -> Envelope {
    Envelope {
        stack: STACK.to_owned(),
        from: 2,
        to: to as u32,
    }
}

pub fn rings(generation: u64, members: &[u32]) -> Rings {
    Rings {
        generation,
        members: members.to_vec(),
    }
}

pub async fn wait_until_ready(sampler: &Running) {
    until("readiness", async || sampler.ops("/readyz").await.0 == 200).await;
}

async fn wait_for_generation(sampler: &Running, generation: f64) {
    let name = "spoor_sampler_rings_generation";
    until("the rings", async || {
        sampler.metric(name).await == Some(generation)
    })
    .await;
}

/// Waits until a metric of several samplers adds up to this.
pub async fn wait_for_sum(samplers: &[Running], name: &str, expected: f64) {
    until(name, async || {
        let mut sum = 0.0;
        for sampler in samplers {
            sum += sampler.metric(name).await.unwrap_or_default();
        }
        sum == expected
    })
    .await;
}

#[tokio::test]
async fn spans_of_a_trace_meet_at_its_owner() {
    let (receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rules("0%");
    stack.save_rings(0, &rings(5, &[3]));
    let samplers = [0, 1, 2].map(|ordinal| stack.start(ordinal, None));
    for sampler in &samplers {
        wait_until_ready(sampler).await;
    }
    for number in 1..=TRACES {
        // Only the child of every other trace has an error.
        let [root, child] = spans_of_trace(number, number % 2 == 0);
        samplers[number as usize % 3].send(&root).await;
        samplers[(number as usize + 1) % 3].send(&child).await;
    }
    for number in (2..=TRACES).step_by(2) {
        receiver.wait_for_trace(number).await;
        let spans = receiver.trace(number);
        let policies: Vec<_> = spans.iter().filter_map(policy).collect();
        assert_eq!(policies, ["errors/failed"]);
    }
    let undelivered = "spoor_sampler_undelivered";
    wait_for_sum(&samplers, undelivered, 0.0).await;
    assert_eq!(receiver.spans().len(), TRACES as usize);
    for sampler in samplers {
        sampler.stop().await;
    }
}

#[tokio::test]
async fn unavailable_owner_gets_its_spans_later() {
    let (receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rings(0, &rings(5, &[2]));
    let first = stack.start(0, None);
    wait_until_ready(&first).await;
    for number in 1..=TRACES {
        first.send(&trace(number, false)).await;
    }
    let pending = "spoor_sampler_forward_pending{peer=\"1\"}";
    assert!(first.metric(pending).await > Some(0.0));
    let failures = "spoor_sampler_forward_failures_total";
    until("a failure", async || {
        first.metric(failures).await > Some(0.0)
    })
    .await;
    // The spans survive a restart of the sampler that received them.
    first.stop().await;
    let first = stack.start(0, None);
    let all = 2 * TRACES as usize;
    assert!(receiver.spans().len() < all);

    let second = stack.start(1, None);
    receiver.wait_for_spans(all).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn sampler_learns_rings_before_it_serves() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    // As on a volume claim that was kept: the rings may have changed since.
    stack.save_rings(1, &rings(4, &[2]));
    let second = stack.start(1, None);
    let (status, reason) = second.ops("/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("waiting for the rings"), "{reason}");
    assert_eq!(stack.exchange(1, envelope(1), None).await, Ok(None));
    // A peer may not exist yet.
    let failures = "spoor_sampler_forward_failures_total";
    assert_eq!(second.metric(failures).await, Some(0.0));

    stack.save_rings(0, &rings(5, &[2]));
    let first = stack.start(0, None);
    wait_until_ready(&second).await;
    wait_for_generation(&second, 5.0).await;
    assert_eq!(stack.saved_rings(1), rings(5, &[2]));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn sampler_outside_the_rings_accepts_no_spans() {
    let (receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rings(0, &rings(5, &[1]));
    let first = stack.start(0, None);
    let second = stack.start(1, None);
    wait_for_generation(&second, 5.0).await;
    let (status, reason) = second.ops("/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("a member of no ring"), "{reason}");

    // Rings that one sampler receives spread to all.
    stack.send_rings(0, rings(6, &[1, 2])).await.unwrap();
    wait_until_ready(&second).await;
    second.send(&trace(1, false)).await;
    stack.send_rings(0, rings(7, &[1])).await.unwrap();
    until("a closed port", async || {
        let response = reqwest::get(format!("http://{}/", second.address)).await;
        response.is_err()
    })
    .await;
    assert_eq!(second.ops("/readyz").await.0, 503);

    stack.send_rings(0, rings(8, &[1, 2])).await.unwrap();
    wait_until_ready(&second).await;
    until("an open port", async || {
        let response = reqwest::get(format!("http://{}/", second.address)).await;
        response.is_ok()
    })
    .await;
    second.send(&trace(2, false)).await;
    receiver.wait_for_spans(4).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn first_rings_come_from_the_control_plane() {
    let (receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    let mut plane = Plane::start().await;
    let sampler = stack.start(0, Some(plane.address));
    let mut stream = plane.next().await;
    stream.hello().await;
    assert_eq!(sampler.ops("/readyz").await.0, 503);
    // Only the second list can be used.
    stream.push_rings(rings(5, &[65])).await;
    stream.push_rings(rings(6, &[1])).await;
    wait_for_generation(&sampler, 6.0).await;
    stream.push(keep_errors(1, "100%")).await;
    assert_eq!(stream.acknowledged().await, 1);
    wait_until_ready(&sampler).await;
    sampler.send(&trace(1, false)).await;
    receiver.wait_for_trace(1).await;
    sampler.stop().await;
    drop(stream);
    plane.kill().await;

    let sampler = stack.start(0, None);
    wait_until_ready(&sampler).await;
    wait_for_generation(&sampler, 6.0).await;
    sampler.stop().await;
}

#[rstest]
#[case::another_sampler(STACK, 2, 1, Code::FailedPrecondition)]
#[case::another_stack("default/other", 2, 0, Code::FailedPrecondition)]
#[case::itself(STACK, 0, 0, Code::FailedPrecondition)]
#[case::no_sampler(STACK, 99, 0, Code::InvalidArgument)]
#[tokio::test]
async fn misdirected_call_is_refused(
    #[case] name: &str,
    #[case] from: u32,
    #[case] to: u32,
    #[case] code: Code,
) {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rings(0, &rings(5, &[1]));
    let sampler = stack.start(0, None);
    let envelope = Envelope {
        stack: name.to_owned(),
        from,
        to,
    };
    let sent = Some(rings(6, &[3]));
    assert_eq!(stack.exchange(0, envelope, sent).await, Err(code));
    assert_eq!(stack.saved_rings(0), rings(5, &[1]));
    sampler.stop().await;
}

#[rstest]
#[case::far_ahead(rings(u64::MAX, &[1]))]
#[case::no_rings(rings(6, &[]))]
#[tokio::test]
async fn unusable_rings_are_refused(#[case] unusable: Rings) {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rings(0, &rings(5, &[1]));
    let sampler = stack.start(0, None);
    let refused = stack.send_rings(0, unusable).await;
    assert_eq!(refused, Err(Code::InvalidArgument));
    wait_for_generation(&sampler, 5.0).await;
    sampler.stop().await;
}

#[rstest]
#[case::no_token(None)]
#[case::another_one(Some("another token of some length"))]
#[case::only_its_beginning(Some(&TOKEN[..63]))]
#[tokio::test]
async fn call_without_the_token_is_refused(#[case] token: Option<&str>) {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::new(output);
    stack.save_rings(0, &rings(5, &[1]));
    let sampler = stack.start(0, None);
    let sent = Some(rings(6, &[3]));
    let refused = stack.exchange_with(token, 0, envelope(0), sent).await;
    assert_eq!(refused, Err(Code::Unauthenticated));
    assert_eq!(stack.saved_rings(0), rings(5, &[1]));
    let refusals = "spoor_sampler_peer_calls_unauthenticated_total";
    assert_eq!(sampler.metric(refusals).await, Some(1.0));
    sampler.stop().await;
}
