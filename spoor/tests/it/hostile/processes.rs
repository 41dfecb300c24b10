//! The lab's processes, which must survive the attacks.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    connection::{Outcome, exchange},
    listeners::{HTTP, address},
};
use crate::lab::Lab;

/// The peak resident memory allowed for each process, in mebibytes.
const MAX_MEBIBYTES: u64 = 192;

#[derive(Debug, PartialEq, Eq)]
pub struct Processes(BTreeMap<String, u32>);

impl Processes {
    pub async fn of(lab: &Lab) -> Self {
        let status = lab.status().await;
        let services = status["services"].as_array().unwrap();
        let mut processes: BTreeMap<String, u32> = services
            .iter()
            .map(|service| {
                let pid = service["pid"].as_u64().unwrap();
                (
                    service["name"].as_str().unwrap().to_owned(),
                    u32::try_from(pid).unwrap(),
                )
            })
            .collect();
        processes.insert("the lab".to_owned(), lab.pid());
        Self(processes)
    }

    /// Checks that all processes still run and respond, stayed within the memory bound and did not
    /// panic.
    pub async fn assert_healthy(&self, lab: &Lab, log: &Path) {
        assert_eq!(&Self::of(lab).await, self, "restarted");
        for listener in HTTP {
            let get = format!(
                "GET {} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
                listener.paths[0]
            );
            let outcome = exchange(address(lab.url(listener.name)), get.as_bytes()).await;
            assert!(
                matches!(outcome, Some(Outcome::Status(200 | 405))),
                "{}: {outcome:?}",
                listener.name
            );
        }
        for (name, pid) in &self.0 {
            let peak = peak_mebibytes(*pid);
            assert!(peak < MAX_MEBIBYTES, "{name} used {peak} MiB");
        }
        let log = fs::read_to_string(log).unwrap();
        assert!(!log.contains("panicked at"), "{log}");
    }
}

fn peak_mebibytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kibibytes.parse::<u64>().unwrap() / 1024
}
