//! The stream over TLS with a token, against the real control plane.

use std::{
    future::ready,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use spoor_control::{
    Caller, Control, ControlSettings, Denied, Identify, Identity, SamplerCaller, SamplerIdentity,
};
use spoor_policy::{Namespace, Resolution, ServiceName};
use spoor_telemetry::{
    batch::SpanCounts,
    control_stream::{self, ControlStream, Credentials, Intervals},
    faults::Faults,
    sampler::Live,
};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, ServerTlsConfig, server::TcpIncoming};
use tracing::{dispatcher::DefaultGuard, subscriber::set_default};

const DEADLINE: Duration = Duration::from_secs(10);
const SERVER: &str = "localhost";

/// Accepts the expected token, and records the tokens that it gets.
#[derive(Clone, Default)]
struct Authenticator(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    valid: String,
    tokens: Vec<String>,
}

impl Authenticator {
    fn expecting(token: &str) -> Self {
        let auth = Self::default();
        auth.expect(token);
        auth
    }

    fn expect(&self, token: &str) {
        self.0.lock().unwrap().valid = token.to_owned();
    }

    fn tokens(&self) -> Vec<String> {
        self.0.lock().unwrap().tokens.clone()
    }
}

impl Identify for Authenticator {
    fn stream<'a>(
        &'a self,
        caller: Caller,
    ) -> Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send + 'a>> {
        let mut state = self.0.lock().unwrap();
        let token = caller.metadata.get("authorization");
        let token = token.map_or("", |it| it.to_str().unwrap());
        state.tokens.push(token.to_owned());
        let identity = match token.strip_prefix("Bearer ") {
            None => Err(Denied::TokenMissing),
            Some(token) if token == state.valid => Ok(Identity {
                namespace: Namespace::default(),
                service: caller.service,
                instance: "pod-1".to_owned(),
            }),
            Some(_) => Err(Denied::TokenInvalid),
        };
        Box::pin(ready(identity))
    }

    fn polling(&self, _: Option<IpAddr>, _: &ServiceName) -> Result<Namespace, Denied> {
        Err(Denied::UnknownPeer)
    }

    fn reporting(&self, _: Option<IpAddr>) -> Result<Namespace, Denied> {
        Err(Denied::UnknownPeer)
    }

    fn sampler<'a>(
        &'a self,
        _: SamplerCaller,
    ) -> Pin<Box<dyn Future<Output = Result<SamplerIdentity, Denied>> + Send + 'a>> {
        Box::pin(ready(Err(Denied::NotASampler)))
    }
}

struct Plane {
    address: SocketAddr,
    control: Control,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Plane {
    /// With TLS if there is a certificate.
    async fn start(
        address: SocketAddr,
        certificate: Option<&CertifiedKey<KeyPair>>,
        auth: &Authenticator,
    ) -> Self {
        let stop = CancellationToken::new();
        let control = Control::new(ControlSettings {
            identify: Arc::new(auth.clone()),
            shutdown: stop.clone(),
            ..ControlSettings::default()
        });
        control.publish(Resolution::default());
        let incoming = listen(address).await;
        let address = incoming.local_addr().unwrap();
        let mut server = Server::builder();
        if let Some(certificate) = certificate {
            let identity = tonic::transport::Identity::from_pem(
                certificate.cert.pem(),
                certificate.signing_key.serialize_pem(),
            );
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).unwrap();
        }
        let serving = server
            .add_service(control.policy_stream())
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            address,
            control,
            stop,
            server,
        }
    }

    fn is_current(&self) -> bool {
        self.control.instances().iter().any(|it| it.is_current)
    }

    async fn kill(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

/// The port of a plane that was killed may take a moment to be free.
async fn listen(address: SocketAddr) -> TcpIncoming {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match TcpIncoming::bind(address) {
            Ok(incoming) => return incoming,
            Err(error) if Instant::now() > deadline => panic!("{address}: {error}"),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// The parts of a pod: the files, which may be created later, and the stream's client.
struct Pod {
    files: TempDir,
    log: Log,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    _logging: DefaultGuard,
}

impl Pod {
    fn new() -> Self {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        Self {
            files: TempDir::new().unwrap(),
            log,
            stop: CancellationToken::new(),
            running: None,
            _logging: set_default(subscriber),
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.file(name), content).unwrap();
    }

    fn start(&mut self, endpoint: &str) {
        let stream = ControlStream {
            endpoint: endpoint.parse().unwrap(),
            credentials: Credentials {
                ca_file: Some(self.file("ca.crt")),
                token_file: Some(self.file("token")),
            },
            service: "service-a".parse().unwrap(),
            instance: "pod-1".to_owned(),
            start: "start-1".to_owned(),
            live: Arc::new(Live::default()),
            faults: Arc::new(Faults::default()),
            spans: Arc::new(SpanCounts::default()),
            intervals: Intervals {
                report: Duration::from_millis(20),
                max_retry_delay: Duration::from_millis(50),
                max_denied_delay: Duration::from_millis(50),
                ..Intervals::default()
            },
        };
        let running = control_stream::run(stream, self.stop.clone());
        self.running = Some(tokio::spawn(running));
    }

    async fn stop(self) {
        self.stop.cancel();
        let stopped = timeout(DEADLINE, self.running.unwrap()).await;
        stopped.expect("it stops").unwrap();
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines_with(&self, text: &str) -> usize {
        self.text().lines().filter(|it| it.contains(text)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([SERVER.to_owned()]).unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn https(plane: &Plane) -> String {
    format!("https://{SERVER}:{}", plane.address.port())
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn installs_plans_over_tls_with_current_token() {
    let (certificate, auth) = (certificate(), Authenticator::expecting("s3cret-1"));
    let plane = Plane::start(anywhere(), Some(&certificate), &auth).await;
    let mut pod = Pod::new();
    pod.write("ca.crt", &certificate.cert.pem());
    pod.write("token", "s3cret-1\n");
    pod.start(&https(&plane));
    until("the first plan", || plane.is_current()).await;

    let address = plane.address;
    plane.kill().await;
    pod.write("token", "s3cret-2\n");
    auth.expect("s3cret-2");
    let plane = Plane::start(address, Some(&certificate), &auth).await;
    until("the plan after a restart", || plane.is_current()).await;
    assert_eq!(auth.tokens(), ["Bearer s3cret-1", "Bearer s3cret-2"]);
    assert!(!pod.log.text().contains("s3cret"), "{}", pod.log.text());
    pod.stop().await;
    plane.kill().await;
}

#[tokio::test]
async fn waits_for_missing_files() {
    let (certificate, auth) = (certificate(), Authenticator::expecting("s3cret"));
    let plane = Plane::start(anywhere(), Some(&certificate), &auth).await;
    let mut pod = Pod::new();
    pod.start(&https(&plane));
    let ca_file = pod.file("ca.crt").display().to_string();
    until("a warning", || pod.log.lines_with(&ca_file) == 1).await;

    pod.write("ca.crt", "");
    let empty = "contains no PEM certificate";
    until("a warning about the empty file", || {
        pod.log.lines_with(empty) == 1
    })
    .await;
    pod.write("ca.crt", &certificate.cert.pem());
    let token_file = pod.file("token").display().to_string();
    until("a warning about the missing token", || {
        pod.log.lines_with(&token_file) == 1
    })
    .await;
    pod.write("token", "s3cret");
    until("the plan", || plane.is_current()).await;
    pod.stop().await;
    plane.kill().await;
}

#[tokio::test]
async fn sends_no_token_to_an_untrusted_control_plane() {
    let (certificate, other) = (certificate(), certificate());
    let auth = Authenticator::expecting("s3cret");
    let plane = Plane::start(anywhere(), Some(&certificate), &auth).await;
    let mut pod = Pod::new();
    pod.write("ca.crt", &other.cert.pem());
    pod.write("token", "s3cret");
    pod.start(&https(&plane));
    until("a warning", || {
        pod.log.lines_with("control plane unavailable") == 1
    })
    .await;
    assert_eq!(auth.tokens(), Vec::<String>::new());
    pod.write("ca.crt", &certificate.cert.pem());
    until("the plan", || plane.is_current()).await;
    pod.stop().await;
    plane.kill().await;
}

#[tokio::test]
async fn sends_no_token_without_tls() {
    let auth = Authenticator::expecting("s3cret");
    let plane = Plane::start(anywhere(), None, &auth).await;
    let mut pod = Pod::new();
    pod.write("token", "s3cret");
    pod.start(&format!("http://{}", plane.address));
    until("a call", || !auth.tokens().is_empty()).await;
    assert!(auth.tokens().iter().all(String::is_empty));
    pod.stop().await;
    plane.kill().await;
}

#[tokio::test]
async fn denied_client_logs_once_and_retries() {
    let (certificate, auth) = (certificate(), Authenticator::expecting("another"));
    let plane = Plane::start(anywhere(), Some(&certificate), &auth).await;
    let mut pod = Pod::new();
    pod.write("ca.crt", &certificate.cert.pem());
    pod.write("token", "s3cret");
    pod.start(&https(&plane));
    until("five attempts", || auth.tokens().len() >= 5).await;
    let reason = "Unauthenticated: invalid token";
    assert_eq!(pod.log.lines_with(reason), 1, "{}", pod.log.text());
    assert_eq!(pod.log.lines_with("control plane connected"), 0);
    auth.expect("s3cret");
    until("the plan", || plane.is_current()).await;
    assert_eq!(pod.log.lines_with("control plane connected"), 1);
    assert!(!pod.log.text().contains("s3cret"), "{}", pod.log.text());
    pod.stop().await;
    plane.kill().await;
}
