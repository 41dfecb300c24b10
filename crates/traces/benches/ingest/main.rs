//! Measures the throughput of the scan and of the pipeline, the memory of a stored span and the
//! duration of a search. `--quick` sends a tenth of the spans.
//!
//! The pipeline runs in a separate process, whose threads are pinned to one core; the sender runs
//! in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod request;
mod scan;
mod sender;
mod server;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use request::{Request, SPANS};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(mode) = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("--server="))
    {
        server::run(mode);
        return;
    }
    let spans = if arguments.iter().any(|argument| argument == "--quick") {
        100_000
    } else {
        1_000_000
    };
    pin(1);
    let mut request = Request::new(1);
    println!(
        "{} bytes per span, {SPANS} spans per request, one core for the server",
        request.span_bytes()
    );
    scan::run(&request);
    for traces in [1, 10] {
        request = Request::new(traces);
        stored(&mut request, spans, traces);
        tail_sampled(&mut request, spans * 5, traces);
    }
}

/// Pins the thread and the threads that it starts to one core, if there are several.
fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if rustix::thread::sched_setaffinity(None, &set).is_err() {
        println!("not pinned to core {core}");
    }
}

/// The processor time of a thread or process in seconds, which other programs do not affect, unlike
/// wall time.
fn processor_time(clock: ClockId) -> f64 {
    let time = Duration::try_from(clock_gettime(clock));
    time.expect("a time").as_secs_f64()
}

fn stored(request: &mut Request, spans: u64, spans_in_trace: u64) {
    let mut server = Server::start("stored");
    let before: u64 = server.query("resident").parse().expect("a number");
    let used = server.number("processor_time");
    let rate = sender::send(server.port, request, spans);
    let core = spans as f64 / (server.number("processor_time") - used);
    let stored: u64 = server.query("spans").parse().expect("a number");
    let resident: u64 = server.query("resident").parse().expect("a number");
    let each = (resident - before) / stored;
    println!(
        "stored, {spans_in_trace} span(s) per trace: {core:.0} spans per core-second \
         ({rate:.0} in wall time), {each} resident bytes per span, for {stored} spans"
    );
    for line in server.query("search").split('|') {
        println!("  search {line}");
    }
}

fn tail_sampled(request: &mut Request, spans: u64, spans_in_trace: u64) {
    let mut server = Server::start("tail");
    let started = Instant::now();
    let used = server.number("processor_time");
    sender::send(server.port, request, spans);
    let took = started.elapsed().as_secs_f64();
    let decided = server.number("decided");
    let core = decided / (server.number("processor_time") - used);
    let totals = server.query("totals");
    println!(
        "tail-sampled, {spans_in_trace} span(s) per trace: {core:.0} spans per core-second \
         ({:.0} in wall time; {totals})",
        decided / took
    );
}

struct Server {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    fn start(mode: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .arg(format!("--server={mode}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut server = Self {
            process,
            input,
            output,
            port: 0,
        };
        server.port = server.line().parse().expect("a port");
        server
    }

    fn query(&mut self, name: &str) -> String {
        writeln!(self.input, "{name}").expect("to write");
        self.line()
    }

    fn number(&mut self, name: &str) -> f64 {
        self.query(name).parse().expect("a number")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        std::thread::sleep(Duration::from_millis(50));
    }
}
