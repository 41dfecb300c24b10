//! An unmodified Collector with its own tail sampler.
//!
//! Where there is a choice, the configuration favours the Collector: it has two plain policies
//! instead of the conditions that the operator writes, records neither the policy nor the threshold
//! in the spans kept, and has no memory limiter. The exporter's queue is in memory, and sends
//! batches of at least 1,000 spans.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use spoor_testing::ports;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::program::{Program, spawn};

/// More traces than wait at a time, so that none is decided early.
const MAX_TRACES: u64 = 500_000;
const QUEUE_BYTES: u64 = 256 << 20;
/// The time in which a Collector usually starts, many times over.
const START_DEADLINE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const DECIDED: &str = "otelcol_processor_tail_sampling_global_count_traces_sampled";

/// Starts a Collector in front of a receiver, with rules that keep traces with errors and 10 % of
/// the others.
pub async fn start(program: &Path, output: SocketAddr, decision_wait: Duration) -> Program {
    let [otlp, metrics] = ports::free();
    let folder = tempfile::tempdir().unwrap();
    let (config, log) = (folder.path().join("config.yaml"), folder.path().join("log"));
    fs::write(&config, configuration(otlp, metrics, output, decision_wait)).unwrap();
    let mut command = Command::new(program);
    command
        .arg(format!("--config={}", config.display()))
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap());
    let program = Program::new(spawn(&mut command), (otlp, metrics), DECIDED, folder);
    let deadline = Instant::now() + START_DEADLINE;
    for address in [otlp, metrics] {
        while TcpStream::connect(address).await.is_err() {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "no Collector:\n{}", log());
            sleep(POLL_INTERVAL).await;
        }
    }
    program
}

fn configuration(
    otlp: SocketAddr,
    metrics: SocketAddr,
    output: SocketAddr,
    decision_wait: Duration,
) -> String {
    let decision_wait = decision_wait.as_millis();
    let (metrics_host, metrics_port) = (metrics.ip(), metrics.port());
    format!(
        "\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: {otlp}
        max_recv_msg_size_mib: 16
processors:
  tail_sampling:
    decision_wait: {decision_wait}ms
    num_traces: {MAX_TRACES}
    block_on_overflow: true
    sample_on_first_match: true
    decision_cache:
      sampled_cache_size: 100000
      non_sampled_cache_size: 100000
    policies:
      - name: failed
        type: status_code
        status_code:
          status_codes: [ERROR]
      - name: otherwise
        type: probabilistic
        probabilistic:
          sampling_percentage: 10
exporters:
  otlp_grpc:
    endpoint: {output}
    compression: none
    tls:
      insecure: true
    sending_queue:
      enabled: true
      sizer: bytes
      queue_size: {QUEUE_BYTES}
      block_on_overflow: true
      batch:
        flush_timeout: 200ms
        sizer: items
        min_size: 1000
service:
  telemetry:
    logs:
      level: warn
    metrics:
      level: normal
      readers:
        - pull:
            exporter:
              prometheus:
                host: {metrics_host}
                port: {metrics_port}
  pipelines:
    traces:
      receivers: [otlp]
      processors: [tail_sampling]
      exporters: [otlp_grpc]
"
    )
}
