//! The configurations that the operator writes for Jaeger, read by the real Jaeger.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rstest::rstest;
use serde_json::{Value, json};
use spoor_api::{Metadata, TracingStack, stack::Stack};
use spoor_operator::stacks::{
    build::{BuildContext, PoliciesService, build, otlp_service::OtlpTarget},
    objects::pod::PodDefaults,
    sampler::SamplerImage,
};
use spoor_policy::TailTable;
use spoor_testing::programs::skip;
use tempfile::TempDir;

use crate::apiserver::{Process, eventually};

/// Jaeger's program, from `SPOOR_JAEGER`. None, with a message, if there is none;
/// with `SPOOR_REQUIRE_ALL=1` that is a failure.
fn program(test: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SPOOR_JAEGER") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "SPOOR_JAEGER: no file {}", path.display());
        return Some(path);
    }
    skip(test, "SPOOR_JAEGER names no Jaeger");
    None
}

/// The configuration of a Jaeger with this storage, with ports and folders of this host.
fn configuration(jaeger: Value, folder: &Path) -> (Value, Ports) {
    let spec = serde_json::from_value(json!({"jaeger": jaeger})).unwrap();
    let stack = TracingStack::new(Metadata::named("tracing"), spec);
    let text = config(&stack.validate().unwrap());
    let folder = folder.display().to_string();
    let text = text
        .replace("/etc/jaeger/", &format!("{folder}/"))
        .replace("/badger/", &format!("{folder}/badger/"));
    let mut config = serde_yaml::from_str(&text).unwrap();
    let ports = Ports::on_free_ports();
    ports.set(&mut config);
    (config, ports)
}

fn config(stack: &Stack) -> String {
    let context = BuildContext {
        policies_service: PoliciesService {
            name: "spoor-policies".to_owned(),
            namespace: "spoor".to_owned(),
        },
        cluster_domain: "cluster.local".to_owned(),
        authority: String::new(),
        pods: PodDefaults::default(),
        sampler_image: SamplerImage {
            reference: "spoor:dev".to_owned(),
            pull_policy: "Never".to_owned(),
        },
    };
    let target = OtlpTarget {
        route: stack.route,
        engine: stack.sampler.engine(),
        since: None,
    };
    let built = build(stack, &context, target, false, &TailTable::default());
    let mut objects = built.objects.into_iter();
    let config = objects.find_map(|manifest| {
        let text = manifest
            .object
            .data
            .pointer("/data/config.yaml")?
            .as_str()?;
        Some(text.to_owned())
    });
    config.unwrap()
}

struct Ports {
    grpc: u16,
    http: u16,
    query: u16,
    query_grpc: u16,
    health: u16,
    metrics: u16,
}

impl Ports {
    /// Chooses ports that are free now.
    fn on_free_ports() -> Self {
        let [grpc, http, query, query_grpc, health, metrics] =
            spoor_testing::ports::free().map(|it| it.port());
        Self {
            grpc,
            http,
            query,
            query_grpc,
            health,
            metrics,
        }
    }

    fn set(&self, config: &mut Value) {
        let fields = [
            ("/receivers/otlp/protocols/grpc/endpoint", self.grpc),
            ("/receivers/otlp/protocols/http/endpoint", self.http),
            ("/extensions/jaeger_query/http/endpoint", self.query),
            ("/extensions/jaeger_query/grpc/endpoint", self.query_grpc),
            ("/extensions/healthcheckv2/http/endpoint", self.health),
        ];
        for (path, port) in fields {
            *config.pointer_mut(path).unwrap() = json!(format!("127.0.0.1:{port}"));
        }
        let metrics = "/service/telemetry/metrics/readers/0/pull/exporter/prometheus";
        *config.pointer_mut(metrics).unwrap() = json!({"host": "127.0.0.1", "port": self.metrics});
    }
}

fn start(program: &Path, config: &Value, folder: &Path) -> Process {
    let file = folder.join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    let argument = format!("--config={}", file.display());
    let login = [("STORAGE_USERNAME", "jaeger"), ("STORAGE_PASSWORD", "4711")];
    Process::start(program, [argument], &login, folder.join("log"))
}

async fn wait_until_ready(process: &Process, ports: &Ports) {
    let url = format!("http://127.0.0.1:{}/status", ports.health);
    eventually(
        "Jaeger is ready",
        Duration::from_secs(30),
        async || match reqwest::get(&url).await {
            Ok(response) if response.status() == 200 => Ok(()),
            other => Err(format!("{other:?}\n{}", process.log_tail())),
        },
    )
    .await;
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Sends one span as a service does.
async fn send(ports: &Ports) {
    let now = jiff::Timestamp::now().as_nanosecond().to_string();
    let span = json!({
        "traceId": TRACE, "spanId": "00f067aa0ba902b7", "name": "GET /", "kind": 2,
        "startTimeUnixNano": now, "endTimeUnixNano": now,
    });
    let name = json!({"key": "service.name", "value": {"stringValue": "shop"}});
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [name]},
        "scopeSpans": [{"spans": [span]}],
    }]});
    let url = format!("http://127.0.0.1:{}/v1/traces", ports.http);
    let client = reqwest::Client::new();
    let response = client.post(url).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

async fn wait_for_trace(ports: &Ports, base_path: &str) {
    let url = format!(
        "http://127.0.0.1:{}{base_path}/api/traces/{TRACE}",
        ports.query
    );
    eventually(
        "Jaeger has the trace",
        Duration::from_secs(10),
        async || {
            let response = reqwest::get(&url)
                .await
                .map_err(|error| format!("{error:?}"))?;
            let response = response.text().await.unwrap_or_default();
            match response.contains("00f067aa0ba902b7") {
                true => Ok(()),
                false => Err(response),
            }
        },
    )
    .await;
}

#[tokio::test]
async fn memory_storage_serves_a_base_path() {
    let Some(program) = program("memory_storage_serves_a_base_path") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let jaeger = json!({
        "basePath": "/jaeger",
        "prometheus": {"url": "http://127.0.0.1:9"},
    });
    let (config, ports) = configuration(jaeger, folder.path());
    let process = start(&program, &config, folder.path());
    wait_until_ready(&process, &ports).await;
    send(&ports).await;
    wait_for_trace(&ports, "/jaeger").await;
}

#[tokio::test]
async fn badger_traces_survive_a_restart() {
    let Some(program) = program("badger_traces_survive_a_restart") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let badger = json!({"storage": {"badger": {"retention": "24h"}}});
    let (config, ports) = configuration(badger, folder.path());
    let process = start(&program, &config, folder.path());
    wait_until_ready(&process, &ports).await;
    send(&ports).await;
    wait_for_trace(&ports, "").await;
    process.terminate();
    wait_until_ended(&process).await;
    let process = start(&program, &config, folder.path());
    wait_until_ready(&process, &ports).await;
    wait_for_trace(&ports, "").await;
}

async fn wait_until_ended(process: &Process) {
    let output = eventually(
        "Jaeger has ended",
        Duration::from_secs(60),
        async || match process.is_running() {
            true => Err(process.log_tail()),
            false => Ok(()),
        },
    );
    output.await;
}

/// Every TLS setting of an external storage.
const TLS: &str = "{caSecretName: ca, certSecretName: client, serverName: db.example.com}";

/// No such databases run here, so a configuration passes if Jaeger tries to connect.
#[rstest]
#[case(&format!("{{opensearch: {{urls: ['https://127.0.0.1:9'], indexPrefix: shop, credentials: {{secretName: login}}, tls: {TLS}}}}}"), "connection refused")]
#[case(
    "{elasticsearch: {urls: ['http://127.0.0.1:9']}}",
    "connection refused"
)]
#[case(&format!("{{cassandra: {{hosts: ['127.0.0.1:9'], keyspace: traces, datacenter: east, credentials: {{secretName: login}}, tls: {TLS}}}}}"), "connection refused")]
#[case("{cassandra: {hosts: ['127.0.0.1:9']}}", "connection refused")]
#[case(
    "{clickhouse: {addresses: ['127.0.0.1:9'], credentials: {secretName: login}}}",
    "connection refused"
)]
#[tokio::test]
async fn jaeger_connects_to_external_storage(#[case] storage: &str, #[case] expected: &str) {
    let Some(program) = program("jaeger_connects_to_external_storage") else {
        return;
    };
    let storage: Value = serde_yaml::from_str(storage).unwrap();
    let output = log_tail(&program, json!({"storage": storage})).await;
    assert!(output.contains(expected), "{output}");
}

/// Shows why validation refuses TLS for ClickHouse with the default image.
#[tokio::test]
async fn default_image_has_no_clickhouse_tls() {
    let Some(program) = program("default_image_has_no_clickhouse_tls") else {
        return;
    };
    let clickhouse = json!({"addresses": ["127.0.0.1:9"], "tls": {}});
    let jaeger = json!({"storage": {"clickhouse": clickhouse}, "image": "jaeger:later"});
    let output = log_tail(&program, jaeger).await;
    assert!(output.contains("invalid keys: tls"), "{output}");
}

/// The last lines of a Jaeger that is expected to exit.
async fn log_tail(program: &Path, jaeger: Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    secrets(&folder);
    let (config, _) = configuration(jaeger, folder.path());
    let process = start(program, &config, folder.path());
    wait_until_ended(&process).await;
    process.log_tail()
}

/// Writes the files that a pod would have from its Secrets.
fn secrets(folder: &TempDir) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["db.example.com".to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .unwrap();
    let files = [
        ("ca/ca.crt", certificate.pem()),
        ("certificate/tls.crt", certificate.pem()),
        ("certificate/tls.key", key.serialize_pem()),
        ("credentials/password", "4711".to_owned()),
    ];
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}
