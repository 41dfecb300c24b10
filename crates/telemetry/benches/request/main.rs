//! The cost of tracing a request A → B over loopback, through our layers and through the stock
//! stack, side by side: without layers, with tracing off, at 1 % and at 100 %.
//!
//! The stock stack is the usual choice for a Rust service: axum- and
//! tonic-tracing-opentelemetry as their documentation composes them, tracing-opentelemetry with its
//! defaults, the SDK's batch processor and opentelemetry-otlp. It has no metrics, no faults and no
//! log, so its "off" is no layer at all; ours has all three, and its "off" is `OTEL_SDK_DISABLED`.
//! Both export to a receiver in this process, on another thread.
//!
//! The stacks take turns, so that a slow moment of the machine affects all of them. The mean is
//! that of the fastest 95 %, since one request that is preempted for milliseconds outweighs a
//! hundred others. The CPU time is that of the requests' thread; on a busy machine it is the
//! steadiest figure.
//!
//! `cargo bench -p spoor-telemetry --bench request`
#![allow(clippy::unwrap_used, missing_docs)]

mod mesh;
mod stack;

use std::time::{Duration, Instant};

use mesh::Mesh;
use stack::{Sampling, Stack};

const TURNS: usize = 41;
/// The share of the requests that the mean covers, the fastest first.
const TRIMMED_PERCENT: usize = 95;
/// The requests of a turn. At 100 %, with four spans for each, they fill whole batches of 512, so
/// that no partly filled batch is exported during the next turn.
const REQUESTS_PER_TURN: usize = 1_024;

struct Case {
    name: &'static str,
    mesh: Mesh,
    latencies: Vec<Duration>,
    cpu: Duration,
}

/// Microseconds per request.
#[derive(Clone, Copy)]
struct Figures {
    p50: f64,
    mean: f64,
    cpu: f64,
}

fn main() {
    // Receivers and the connections of the stock exporters have a separate thread, as our exporter
    // does, so that the requests' thread only makes spans.
    let exporting = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let serving = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut cases = [
        ("no layers", Stack::none()),
        ("ours, off", Stack::ours(&exporting, Sampling::Off)),
        ("ours, 1 %", Stack::ours(&exporting, Sampling::OnePercent)),
        ("ours, 100 %", Stack::ours(&exporting, Sampling::Everything)),
        ("stock, 1 %", Stack::stock(&exporting, Sampling::OnePercent)),
        (
            "stock, 100 %",
            Stack::stock(&exporting, Sampling::Everything),
        ),
    ]
    .map(|(name, stack)| Case {
        name,
        mesh: serving.block_on(Mesh::start(stack)),
        latencies: Vec::with_capacity(TURNS * REQUESTS_PER_TURN),
        cpu: Duration::ZERO,
    });
    for case in &cases {
        turn(&serving, &case.mesh);
    }
    for _ in 0..TURNS {
        for case in &mut cases {
            let before = cpu_time();
            case.latencies.extend(turn(&serving, &case.mesh));
            case.cpu += cpu_time() - before;
        }
    }
    let figures = cases.each_mut().map(Case::figures);
    print(&cases, &figures);
    for case in cases {
        exporting.block_on(case.mesh.stop());
    }
}

/// Sends the requests of a turn one at a time, and then waits until no more spans arrive.
fn turn(serving: &tokio::runtime::Runtime, mesh: &Mesh) -> Vec<Duration> {
    let latencies = mesh.inside(|| {
        serving.block_on(async {
            let mut latencies = Vec::with_capacity(REQUESTS_PER_TURN);
            for _ in 0..REQUESTS_PER_TURN {
                let started = Instant::now();
                mesh.request().await;
                latencies.push(started.elapsed());
            }
            latencies
        })
    });
    mesh.stack.wait_until_received();
    latencies
}

impl Case {
    fn figures(&mut self) -> Figures {
        self.latencies.sort_unstable();
        let fastest = &self.latencies[..self.latencies.len() * TRIMMED_PERCENT / 100];
        let total: Duration = fastest.iter().sum();
        Figures {
            p50: microseconds(self.latencies[self.latencies.len() / 2]),
            mean: microseconds(total) / f64::from(u32::try_from(fastest.len()).unwrap()),
            cpu: microseconds(self.cpu) / f64::from(u32::try_from(self.latencies.len()).unwrap()),
        }
    }
}

impl Figures {
    fn over(self, base: Self) -> Self {
        Self {
            p50: self.p50 - base.p50,
            mean: self.mean - base.mean,
            cpu: self.cpu - base.cpu,
        }
    }
}

/// The time that this thread has been running on a CPU.
fn cpu_time() -> Duration {
    // Linux: the first field of schedstat, in nanoseconds.
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let running = statistics.split(' ').next().unwrap();
    Duration::from_nanos(running.parse().unwrap())
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn print(cases: &[Case; 6], figures: &[Figures; 6]) {
    let [none, off, ours_one, ours_all, stock_one, stock_all] = *figures;
    let bases = [none, none, off, off, none, none];
    println!(
        "{:14}{:>8}{:>8}{:>8}   over off:{:>7}{:>8}{:>8}{:>16}",
        "µs per request", "p50", "mean", "CPU", "p50", "mean", "CPU", "spans received"
    );
    for ((case, figures), base) in cases.iter().zip(figures).zip(bases) {
        let cost = figures.over(base);
        println!(
            "{:14}{:>8.1}{:>8.1}{:>8.1}{:>19.1}{:>8.1}{:>8.1}{:>16}",
            case.name,
            figures.p50,
            figures.mean,
            figures.cpu,
            cost.p50,
            cost.mean,
            cost.cpu,
            case.mesh.stack.received(),
        );
    }
    println!(
        "\n{:36}{:>8}{:>8}{:>8}{:>8}",
        "ours/stock", "p50", "mean", "CPU", "aim"
    );
    let ratios = [
        ("cost over off, 1 %", ours_one.over(off), stock_one, "0.50"),
        (
            "cost over off, 100 %",
            ours_all.over(off),
            stock_all,
            "0.75",
        ),
        (
            "cost with metrics and faults, 1 %",
            ours_one.over(none),
            stock_one,
            "",
        ),
        (
            "cost with metrics and faults, 100 %",
            ours_all.over(none),
            stock_all,
            "",
        ),
    ];
    for (name, ours, stock, aim) in ratios {
        let stock = stock.over(none);
        println!(
            "{name:36}{:>8.2}{:>8.2}{:>8.2}{aim:>8}",
            ours.p50 / stock.p50,
            ours.mean / stock.mean,
            ours.cpu / stock.cpu
        );
    }
}
