//! The idle lab: the time until it is ready, and the memory of each process, before the models are
//! loaded and with both loaded.
//!
//! `cargo bench -p spoor --bench idle`

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The time after which memory needed only at startup is freed and every periodic task has run.
const SETTLE_DELAY: Duration = Duration::from_secs(6);
const STARTS: usize = 5;

/// The targets for the memory of the lab and its services, in kB of proportional set size.
const TARGET_BEFORE_MODELS_KB: u64 = 150_000;
const TARGET_WITH_MODELS_KB: u64 = 250_000;
const TARGET_READY: Duration = Duration::from_secs(3);

fn main() {
    let mut times: Vec<Duration> = (0..STARTS).map(|_| Lab::start().ready).collect();
    times.sort();
    let lab = Lab::start();
    thread::sleep(SETTLE_DELAY);
    let before = lab.processes();
    lab.classify();
    thread::sleep(SETTLE_DELAY);
    let with = lab.processes();
    println!(
        "{:<32} {:>10} {:>10} {:>14}",
        "PSS in kB", "idle", "RSS", "with models"
    );
    for (name, memory) in &before {
        let later = with.get(name).map(|memory| memory.proportional.to_string());
        println!(
            "{name:<32} {:>10} {:>10} {:>14}",
            memory.proportional,
            memory.resident,
            later.unwrap_or_default()
        );
    }
    let total = |processes: &BTreeMap<String, Memory>| -> u64 {
        processes.values().map(|memory| memory.proportional).sum()
    };
    println!("{:<32} {:>10} {:>25}", "all", total(&before), total(&with));
    println!(
        "{:<32} {TARGET_BEFORE_MODELS_KB:>10} {TARGET_WITH_MODELS_KB:>25}",
        "target: under"
    );
    let shown = |time: &Duration| format!("{} ms", time.as_millis());
    println!(
        "ready: median {} of {STARTS}, slowest {} (target: under {})",
        times.get(STARTS / 2).map(shown).unwrap(),
        times.last().map(shown).unwrap(),
        shown(&TARGET_READY)
    );
}

struct Lab {
    process: Child,
    admin: String,
    ready: Duration,
    _data: tempfile::TempDir,
}

struct Memory {
    proportional: u64,
    resident: u64,
}

impl Lab {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let mut process = Command::new(env!("CARGO_BIN_EXE_spoor"))
            .args(["up", "--any-ports", "--output", "json", "--data"])
            .arg(data.path())
            .env("RUST_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready = began.elapsed();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "ready", "{line}");
        Self {
            process,
            admin: event["urls"]["admin"].as_str().unwrap().to_owned(),
            ready,
            _data: data,
        }
    }

    /// Classifies pictures, so that both models are loaded.
    fn classify(&self) {
        let status = Command::new(env!("CARGO_BIN_EXE_spoor"))
            .args(["load", "images", "--requests", "8", "--connections", "1"])
            .args(["--output", "json", "--lab", &self.admin])
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "pictures are classified");
    }

    /// The lab's own process and its services.
    fn processes(&self) -> BTreeMap<String, Memory> {
        let lab = self.process.id();
        let children = fs::read_to_string(format!("/proc/{lab}/task/{lab}/children")).unwrap();
        let spawned_elsewhere = fs::read_dir(format!("/proc/{lab}/task")).unwrap();
        let mut pids: Vec<u32> = spawned_elsewhere
            .filter_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok())
            .chain([children])
            .flat_map(|pids| {
                pids.split_whitespace()
                    .map(|pid| pid.parse().unwrap())
                    .collect::<Vec<_>>()
            })
            .chain([lab])
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter()
            .map(|pid| (command_line(pid), memory(pid)))
            .collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
    }
}

fn command_line(pid: u32) -> String {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let words: Vec<&str> = words.split('\0').skip(1).take(2).collect();
    let words = words.join(" ");
    format!("spoor {}", words.split(" --").next().unwrap())
}

fn memory(pid: u32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| {
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    Memory {
        proportional: field("Pss:"),
        resident: field("Rss:"),
    }
}
