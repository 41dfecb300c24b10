//! Load on every edge of a lab, for as long as a test needs it.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Child;

use crate::lab::{DEADLINE, Lab, command, send};

/// A running `spoor load mesh`.
pub struct Traffic(Child);

/// The summary of the requests sent.
pub struct Sent(Value);

impl Traffic {
    /// Starts the load at a low rate, since the services share a machine with the test.
    pub fn start(lab: &Lab) -> Self {
        let load = ["load", "mesh", "--rate", "10", "--duration", "10m"];
        let child = command()
            .args(load)
            .args(["--output", "json", "--lab", lab.url("admin")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Stops the load, and waits until every request has a response.
    pub async fn stop(self) -> Sent {
        send("-INT", self.0.id().unwrap());
        let output = tokio::time::timeout(DEADLINE, self.0.wait_with_output()).await;
        let stdout = output.expect("ends in time").unwrap().stdout;
        Sent(serde_json::from_slice(&stdout).unwrap())
    }
}

impl Sent {
    /// Checks that every request to these services succeeded.
    pub fn assert_no_failures(&self, services: &[&str]) {
        for service in services {
            let of_service = |row: &&Value| {
                let operation = row["operation"].as_str().unwrap();
                operation.starts_with(&format!("{service} "))
            };
            let rows = self.0["operations"].as_array().unwrap().iter();
            let rows: Vec<&Value> = rows.filter(of_service).collect();
            let sent: u64 = rows
                .iter()
                .map(|row| row["requests"].as_u64().unwrap())
                .sum();
            assert!(sent > 0, "nothing was sent to {service}: {}", self.0);
            assert!(rows.iter().all(|row| row["failed"] == 0), "{rows:#?}");
        }
    }
}
