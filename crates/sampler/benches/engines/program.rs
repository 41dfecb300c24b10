//! A program that is measured, in a process of its own on one core.

use std::{
    any::Any,
    fs,
    net::SocketAddr,
    process::{Child, Command},
    thread,
    time::Duration,
};

use tokio::time::{Instant, sleep};

const CORE: usize = 0;
/// The time for decisions after the last span.
const DEADLINE: Duration = Duration::from_secs(60);
/// The interval at which decisions are counted.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A program that is killed when it is dropped.
pub struct Program {
    child: Child,
    pub otlp: SocketAddr,
    metrics: SocketAddr,
    /// The name of the counter of decided traces.
    decided: &'static str,
    /// Dropped after the program has ended.
    _resources: Box<dyn Any>,
}

/// Pins the thread and the threads and processes that it starts to one core, if there are several.
pub fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if rustix::thread::sched_setaffinity(None, &set).is_err() {
        println!("not pinned to core {core}");
    }
}

/// Starts a process on the core for programs. Go and Tokio read the number of cores at the start,
/// so it is pinned before.
pub fn spawn(command: &mut Command) -> Child {
    thread::scope(|scope| {
        let starting = scope.spawn(|| {
            pin(CORE);
            command.spawn().unwrap()
        });
        starting.join().unwrap()
    })
}

impl Program {
    /// `decided` is the name of the counter of decided traces, `resources` what the process needs
    /// while it runs.
    pub fn new(
        child: Child,
        (otlp, metrics): (SocketAddr, SocketAddr),
        decided: &'static str,
        resources: impl Any,
    ) -> Self {
        Self {
            child,
            otlp,
            metrics,
            decided,
            _resources: Box::new(resources),
        }
    }

    /// The processor time in seconds, in user mode and in the kernel.
    pub fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program, in parentheses, may contain anything. Of the fields after it, the
        // first one has the number 3, and the two times have 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(14 - 3).take(2);
        let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// The resident memory without mapped files, in bytes.
    pub fn anonymous_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let kilobytes = lines.find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = kilobytes.expect("RssAnon").trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// The number of traces decided so far.
    pub async fn decided(&self) -> u64 {
        let url = format!("http://{}/metrics", self.metrics);
        let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
        total(&metrics, self.decided) as u64
    }

    /// Waits for decisions on this number of traces, and returns the number of those that are made
    /// in time.
    pub async fn wait_for_decisions(&self, traces: u64) -> u64 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let decided = self.decided().await;
            if decided >= traces || Instant::now() > deadline {
                return decided;
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a counter over its series. Its name may end in `_total`.
fn total(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    let of_counter = series.filter(|(series, _)| {
        let counter = series.split('{').next().unwrap_or_default();
        counter.strip_suffix("_total").unwrap_or(counter) == name
    });
    of_counter
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}
