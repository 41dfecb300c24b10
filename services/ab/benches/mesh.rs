//! The cost of tracing for a request through the mesh: service-a and service-b on real connections,
//! without a wait or a calculation, with tracing off, at 1 % and at 100 %.
//!
//! These three cases take turns, so that a slow moment of the machine affects all of them; the
//! figures are the medians of the rounds. Run `cargo bench -p spoor-ab`. The arguments are the
//! number of rounds, the seconds per round, and `--path`, such as `/?wait=0ms&calc=100`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use opentelemetry_sdk::trace::SpanData;
use spoor_ab::{a, b};
use spoor_telemetry::{
    Telemetry, TelemetrySettings,
    export::{Export, ExportResponse, Sending},
    serve::ServeError,
};
use spoor_testing::{Running, args};
use tokio::task::JoinSet;

/// The number of callers, each with its own connection and one request at a time.
const CALLERS: usize = 16;

#[derive(Parser)]
struct Options {
    #[arg(default_value_t = 7)]
    rounds: usize,
    #[arg(default_value_t = 2.0)]
    seconds: f64,
    /// The path to request.
    #[arg(long, default_value = "/?wait=0ms&calc=0")]
    path: String,
    /// Passed by Cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Discard;

impl Export for Discard {
    fn encode(&self, _: Vec<SpanData>) -> Bytes {
        Bytes::new()
    }

    fn send(&self, _: Bytes) -> Sending<'_> {
        Box::pin(async { Ok(ExportResponse::default()) })
    }
}

struct Case {
    name: &'static str,
    url: String,
    /// They run until they are dropped.
    _services: [Running<ServeError>; 2],
    rounds: Vec<Round>,
}

struct Round {
    per_second: f64,
    median: Duration,
    p99: Duration,
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let mut cases = Vec::new();
    for (name, setting) in [
        ("tracing off", ("OTEL_SDK_DISABLED", "true")),
        ("1 %", ("OTEL_TRACES_SAMPLER_ARG", "0.01")),
        ("100 %", ("OTEL_TRACES_SAMPLER_ARG", "1")),
    ] {
        let services = mesh(setting).await;
        cases.push(Case {
            name,
            url: format!("http://{}{}", services[0].address, options.path),
            _services: services,
            rounds: Vec::new(),
        });
    }
    let length = Duration::from_secs_f64(options.seconds);
    for case in &cases {
        drive(&case.url, length / 2).await;
    }
    for _ in 0..options.rounds {
        for case in &mut cases {
            case.rounds.push(drive(&case.url, length).await);
        }
    }
    print(&cases);
}

/// Starts both services; the edge is the first.
async fn mesh(setting: (&'static str, &'static str)) -> [Running<ServeError>; 2] {
    let a_telemetry = telemetry("service-a", setting);
    let b_telemetry = telemetry("service-b", setting);
    let b = Running::start(args::<b::ServiceBArgs>(&[]), &b_telemetry).await;
    let url = format!("--service-b=http://{}", b.address);
    let a = Running::start(args::<a::ServiceAArgs>(&[&url]), &a_telemetry).await;
    [a, b]
}

fn telemetry(service: &'static str, setting: (&'static str, &'static str)) -> Telemetry {
    let settings = TelemetrySettings::read(|name| match name {
        "OTEL_SERVICE_NAME" => Some(service.to_owned()),
        "OTEL_TRACES_SAMPLER" => Some("parentbased_traceidratio".to_owned()),
        name => (name == setting.0).then(|| setting.1.to_owned()),
    });
    Telemetry::with_exporter(settings.unwrap(), Arc::new(Discard)).unwrap()
}

async fn drive(url: &str, length: Duration) -> Round {
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(call(url.to_owned(), started + length));
    }
    let mut latencies: Vec<Duration> = callers.join_all().await.concat();
    let elapsed = started.elapsed();
    latencies.sort_unstable();
    Round {
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        median: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() * 99 / 100],
    }
}

async fn call(url: String, until: Instant) -> Vec<Duration> {
    let client = reqwest::Client::new();
    let mut latencies = Vec::with_capacity(10_000);
    while Instant::now() < until {
        let started = Instant::now();
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
        latencies.push(started.elapsed());
    }
    latencies
}

fn print(cases: &[Case]) {
    println!("{:12} {:>12} {:>10} {:>10}", "", "requests/s", "p50", "p99");
    let off = cases[0].median(|round| round.per_second);
    for case in cases {
        let per_second = case.median(|round| round.per_second);
        println!(
            "{:12} {per_second:>12.0} {:>7.0} µs {:>7.0} µs  {:+.1} % throughput",
            case.name,
            case.median(|round| round.median.as_secs_f64() * 1e6),
            case.median(|round| round.p99.as_secs_f64() * 1e6),
            (per_second / off - 1.0) * 100.0,
        );
    }
}

impl Case {
    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(figure).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    }
}
