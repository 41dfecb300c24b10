//! A running program of docs/sdks.md.

use std::{
    io::{Read, Seek},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::lab::command_of;

/// Long enough to download and compile the dependencies of a program.
const START_DEADLINE: Duration = Duration::from_secs(300);

/// A shell that runs a program, with the child processes of both.
pub struct Service {
    process: Child,
    group: Pid,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: std::fs::File,
}

impl Service {
    /// Runs the commands in a folder.
    pub fn start(folder: &Path, commands: &str) -> Self {
        let stderr = tempfile::tempfile().unwrap();
        let mut process = command_of("bash")
            .args(["-euc", commands])
            .current_dir(folder)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .unwrap();
        let pid = i32::try_from(process.id().unwrap()).unwrap();
        Self {
            group: Pid::from_raw(pid).unwrap(),
            stdout: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
            stderr,
        }
    }

    /// The number of sampled traces among the next 1000; `None` if the program ends first.
    pub async fn next(&mut self) -> Option<u64> {
        let line = async {
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                if let Some(before) = line.strip_suffix(" of 1000 traces sampled") {
                    // Maven ends its output with escape sequences and no line break.
                    let number = before.rsplit(|it: char| !it.is_ascii_digit()).next();
                    return Some(number.unwrap_or_default().parse().unwrap());
                }
            }
            None
        };
        tokio::time::timeout(START_DEADLINE, line)
            .await
            .unwrap_or_else(|_| panic!("no line in time: {}", self.log()))
    }

    /// The number of sampled traces among the next 1000, from a program that must keep running.
    pub async fn sampled(&mut self) -> u64 {
        let next = self.next().await;
        next.unwrap_or_else(|| panic!("the program has ended: {}", self.log()))
    }

    /// Waits until the number of sampled traces among 1000 is as expected.
    pub async fn wait_for_sampled(&mut self, what: &str, is_expected: impl Fn(u64) -> bool) -> u64 {
        let mut seen = vec![];
        for _ in 0..30 {
            let sampled = self.sampled().await;
            if is_expected(sampled) {
                return sampled;
            }
            seen.push(sampled);
        }
        panic!("{what}: seen {seen:?} of 1000: {}", self.log())
    }

    /// Waits until a URL responds.
    pub async fn wait_until_ready(&mut self, url: &str) {
        let deadline = Instant::now() + START_DEADLINE;
        while reqwest::get(url).await.is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "the program has ended: {}", self.log());
            assert!(
                Instant::now() < deadline,
                "no response in time: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        self.stderr.rewind().unwrap();
        self.stderr.read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.process.start_kill();
    }
}
