//! A Collector as a process of this host.

use std::{path::Path, time::Duration};

use serde_json::Value;
use spoor_operator::stacks::collector::Tier;
use tempfile::TempDir;

use super::configuration::ListenAddresses;
use crate::apiserver::{Process, eventually};

/// A Collector that runs.
pub struct Program {
    pub addresses: ListenAddresses,
    process: Process,
    _folder: TempDir,
}

impl Program {
    /// Starts a Collector as a tier's pod does, and waits until it is ready.
    pub async fn start(
        collector: &Path,
        tier: &Tier,
        config: &Value,
        addresses: ListenAddresses,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let pod = tier
            .workload
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap();
        let arguments = pod.containers[0].args.clone().unwrap();
        let arguments = arguments.into_iter().map(|argument| {
            if argument.starts_with("--config=") {
                format!("--config={}", file.display())
            } else {
                argument
            }
        });
        let log = folder.path().join("log");
        let process = Process::start(collector, arguments, &[], log);
        let program = Self {
            addresses,
            process,
            _folder: folder,
        };
        let url = format!("http://{}/", addresses.health);
        eventually(
            "the Collector is ready",
            Duration::from_secs(30),
            async || {
                if !program.process.is_running() {
                    panic!("the Collector ended:\n{}", program.process.log_tail());
                }
                match reqwest::get(&url).await {
                    Ok(response) if response.status() == 200 => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            },
        )
        .await;
        program
    }

    /// Sends SIGTERM, as the kubelet does after the `preStop` hook, and waits until the program has
    /// ended.
    pub async fn stop(self) {
        self.process.terminate();
        eventually(
            "the Collector has ended",
            Duration::from_secs(60),
            async || {
                if self.process.is_running() {
                    Err("still running".to_owned())
                } else {
                    Ok(())
                }
            },
        )
        .await;
    }

    /// Kills the program, as the failure of its node would.
    pub fn kill(&self) {
        let pid = i32::try_from(self.process.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// The last lines of the program's output.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// Its own metrics.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.addresses.own_metrics);
        reqwest::get(url).await.unwrap().text().await.unwrap()
    }
}

/// Asserts that the Collector's program accepts a configuration.
pub fn assert_accepts(collector: &Path, config: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, config).unwrap();
    let checked = std::process::Command::new(collector)
        .arg("validate")
        .arg(format!("--config={}", file.display()))
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{problems}");
}

/// The sum of a metric over its series.
pub fn total(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .filter_map(|(_, value)| value.parse::<f64>().ok())
        .sum()
}
