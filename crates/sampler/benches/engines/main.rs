//! Compares the engines on one core each, under the same load and equal rules: Spoor's sampler,
//! without and with a journal, and the tail sampler of an unmodified Collector.
//!
//! `SPOOR_COLLECTOR=/path/to/otelcol-contrib cargo bench -p spoor-sampler --bench engines`
//!
//! Spans arrive and leave over OTLP/gRPC. Each engine runs in a process of its own, pinned to one
//! core; this process, on another one, sends and receives the spans. A run ends when every trace is
//! decided and the spans that are kept have arrived, so spans that were only acknowledged do not
//! count: the sampler acknowledges what is in its journal, the Collector what is in its memory.
//! The work of the kernel's own threads, which write the journal to its disk, is not included; the
//! spans in wall time include the waits for it. `TMPDIR` names the disk.
//!
//! The memory of a gathered span is the growth of the anonymous resident memory while all spans
//! wait, including what a garbage collector has not freed, as in the memory limit of a pod.
//!
//! Options: `--quick` takes a fifth of the time and the spans; `--spans-per-request N` changes the
//! size of requests. Larger ones favour both engines, but services send small ones: the batch of an
//! SDK has at most 512 spans, and usually few.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod collector;
mod load;
#[path = "../../tests/it/plane.rs"]
#[allow(dead_code)] // The tests use the rest.
mod plane;
mod program;
mod request;
mod sampler;
mod sink;

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use load::Until;
use program::Program;
use request::{Arrangement, Requests, SPANS_IN_TRACE};
use sink::Sink;
use spoor_testing::programs::skip;
use tokio::time::sleep;

/// The decision wait in the measurement of throughput. Longer ones only take more memory.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// The decision wait in the measurement of memory, during which no trace is decided.
const LONG_WAIT: Duration = Duration::from_secs(600);
/// The time after the last span before memory is measured.
const SETTLE_TIME: Duration = Duration::from_secs(3);
const SENDER_CORE: usize = 1;

#[derive(Clone, Copy)]
enum Engine<'a> {
    Sampler { has_journal: bool },
    Collector(&'a Path),
}

impl Engine<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Sampler { has_journal: false } => "sampler",
            Self::Sampler { has_journal: true } => "sampler with a journal",
            Self::Collector(_) => "Collector",
        }
    }

    async fn start(self, output: SocketAddr, decision_wait: Duration) -> Program {
        match self {
            Self::Sampler { has_journal } => {
                sampler::start(output, decision_wait, has_journal).await
            }
            Self::Collector(program) => collector::start(program, output, decision_wait).await,
        }
    }
}

struct Options {
    send_time: Duration,
    gathered_spans: u64,
    spans_per_request: u64,
}

impl Options {
    fn read() -> Self {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let position = |name: &str| arguments.iter().position(|argument| argument == name);
        let divisor = if position("--quick").is_some() { 5 } else { 1 };
        let value = position("--spans-per-request").and_then(|at| arguments.get(at + 1));
        Self {
            send_time: Duration::from_secs(15) / divisor,
            gathered_spans: 300_000 / u64::from(divisor),
            spans_per_request: value.map_or(100, |value| value.parse().expect("a number")),
        }
    }
}

/// The figures of one engine.
struct Figures {
    engine: &'static str,
    spans_per_core_second: f64,
    spans_per_second: f64,
    bytes_per_span: f64,
}

fn main() {
    if env::var_os(sampler::IS_SAMPLER).is_some() {
        sampler::run();
        return;
    }
    program::pin(SENDER_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(compare(&Options::read()));
}

async fn compare(options: &Options) {
    let collector = env::var_os("SPOOR_COLLECTOR").map(PathBuf::from);
    if collector.is_none() {
        skip("Collector", "SPOOR_COLLECTOR names no Collector");
    }
    let mut engines = vec![
        Engine::Sampler { has_journal: false },
        Engine::Sampler { has_journal: true },
    ];
    engines.extend(collector.as_deref().map(Engine::Collector));
    for arrangement in [Arrangement::OneRequest, Arrangement::TenRequests] {
        let requests = Arc::new(Requests::new(arrangement, options.spans_per_request));
        println!(
            "{arrangement}: {} bytes per span, {SPANS_IN_TRACE} spans per trace, {} spans per request",
            requests.bytes_per_span(),
            requests.spans()
        );
        println!(
            "{:>24} {:>18} {:>14} {:>7} {:>8} {:>18}",
            "", "spans/core-second", "spans/second", "kept", "refused", "bytes/waiting span"
        );
        let mut all = Vec::new();
        for engine in &engines {
            all.push(measure(*engine, &requests, options).await);
        }
        compare_with_last(&all);
    }
}

async fn measure(engine: Engine<'_>, requests: &Arc<Requests>, options: &Options) -> Figures {
    let bytes_per_span = memory(engine, requests, options.gathered_spans).await;

    let (sink, output) = Sink::start().await;
    let program = engine.start(output, SHORT_WAIT).await;
    let used_before = program.processor_time();
    let sent = load::send(program.otlp, requests, Until::Elapsed(options.send_time)).await;
    let traces = requests.traces(sent.requests);
    let decided = program.wait_for_decisions(traces).await;
    let kept = sink.wait_until_quiet().await;
    let used = program.processor_time() - used_before;

    let spans = (decided * SPANS_IN_TRACE) as f64;
    let figures = Figures {
        engine: engine.name(),
        spans_per_core_second: spans / used,
        spans_per_second: (traces * SPANS_IN_TRACE) as f64 / sent.time.as_secs_f64(),
        bytes_per_span,
    };
    println!(
        "{:>24} {:>18.0} {:>14.0} {:>5.1} % {:>8} {:>18.0}",
        figures.engine,
        figures.spans_per_core_second,
        figures.spans_per_second,
        kept.spans as f64 / spans * 100.0,
        sent.refused,
        figures.bytes_per_span
    );
    if decided != traces {
        println!("{:>24} decided on {decided} of {traces} traces", "");
    }
    let complete = kept.roots * SPANS_IN_TRACE;
    if kept.spans != complete {
        let spans = kept.spans;
        println!("{:>24} sent {spans} spans instead of {complete}", "");
    }
    figures
}

/// The memory of a span that waits, in bytes.
async fn memory(engine: Engine<'_>, requests: &Arc<Requests>, spans: u64) -> f64 {
    let (_sink, output) = Sink::start().await;
    let program = engine.start(output, LONG_WAIT).await;
    let before = program.anonymous_bytes();
    let count = spans.div_ceil(requests.spans());
    let sent = load::send(program.otlp, requests, Until::Requests(count)).await;
    sleep(SETTLE_TIME).await;
    let grown = program.anonymous_bytes().saturating_sub(before);
    // None, unless a bound on memory was exceeded.
    let decided = program.decided().await;
    let waiting = requests.traces(sent.requests).saturating_sub(decided) * SPANS_IN_TRACE;
    grown as f64 / waiting as f64
}

/// Prints the figures of all engines but the last one as multiples of its figures.
fn compare_with_last(all: &[Figures]) {
    let Some((last, others)) = all.split_last() else {
        return;
    };
    for figures in others {
        println!(
            "{:>24} {:>17.1}x {:>13.1}x {:>35.2}x  of {}",
            figures.engine,
            figures.spans_per_core_second / last.spans_per_core_second,
            figures.spans_per_second / last.spans_per_second,
            figures.bytes_per_span / last.bytes_per_span,
            last.engine
        );
    }
    println!();
}
