//! Spoor's sampler: this program again, which then does what `spoor run sampler` does. A control
//! plane in the benchmark's process sends it the rules.

use std::{
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use clap::Parser;
use spoor_sampler::{Sampler, SamplerArgs};
use spoor_telemetry::Telemetry;
use tokio_util::sync::CancellationToken;

use crate::{
    plane::{Plane, keep_errors},
    program::{Program, spawn},
};

/// The environment variable that turns the program into a sampler.
pub const IS_SAMPLER: &str = "SPOOR_BENCH_IS_SAMPLER";

/// Enough for all spans, so that no trace is decided early and no request refused.
const MEMORY: &str = "4GiB";
const JOURNAL_SIZE: &str = "8GiB";
/// The default of the sampler.
const MAX_TRACE_DURATION: Duration = Duration::from_secs(30);
/// As many as `spoor run` has.
const WORKER_THREADS: usize = 2;
const DECIDED: &str = "spoor_sampler_traces_decided";

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    sampler: SamplerArgs,
}

/// Runs a sampler until it is killed. It first prints its addresses for spans and for metrics.
pub fn run() {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let settings = options.sampler.settings(|name| env::var(name).ok());
        let settings = settings.unwrap();
        let _log = Telemetry::start(settings.log.clone()).unwrap();
        let sampler = Sampler::start(settings).unwrap();
        let (address, ops) = (sampler.address().unwrap(), sampler.ops_address().unwrap());
        println!("{address} {ops}");
        sampler.run(CancellationToken::new()).await.unwrap();
    });
}

/// Starts a sampler in front of a receiver, and waits until it has rules that keep traces with
/// errors and 10 % of the others.
pub async fn start(output: SocketAddr, decision_wait: Duration, has_journal: bool) -> Program {
    let mut plane = Plane::start().await;
    let folder = has_journal.then(|| tempfile::tempdir().unwrap());
    let milliseconds = |duration: Duration| format!("{}ms", duration.as_millis());
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .env(IS_SAMPLER, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{output}"))
        .env(
            "SPOOR_CONTROL_ENDPOINT",
            format!("http://{}", plane.address),
        )
        .env("RUST_LOG", "warn")
        .args(["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
        .args(["--memory", MEMORY, "--journal-size", JOURNAL_SIZE])
        .arg("--decision-wait")
        .arg(milliseconds(decision_wait))
        .arg("--max-trace-duration")
        .arg(milliseconds(decision_wait.max(MAX_TRACE_DURATION)))
        .stdout(Stdio::piped());
    if let Some(folder) = &folder {
        command.arg("--journal").arg(folder.path());
    }
    let mut child = spawn(&mut command);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let (otlp, metrics) = line.trim_end().split_once(' ').expect("two addresses");
    let addresses = (otlp.parse().unwrap(), metrics.parse().unwrap());

    let mut stream = plane.next().await;
    stream.hello().await;
    stream.push(keep_errors(1, "10%")).await;
    stream.acknowledged().await;
    let resources = (plane, stream, folder, stdout);
    Program::new(child, addresses, DECIDED, resources)
}
