//! A Redis of our own, for as long as a test runs.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{peer, ports};

const PASSWORD: &str = "only-for-tests";

/// A running `redis-server`, with a password, on a port that nobody else has.
#[derive(Debug)]
pub struct RedisServer {
    server: Child,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// None, with a line that says so, where there is no Redis.
    pub async fn start(test: &str) -> Option<Self> {
        if !peer::have(test, &["redis-server", "redis-cli"]) {
            return None;
        }
        let [address] = ports::free();
        let folder = TempDir::new().unwrap();
        let server = Self {
            server: spawn(address.port(), &folder),
            port: address.port(),
            folder,
        };
        server.is_up().await;
        Some(server)
    }

    /// With its password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// Its host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a crash would end it.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// On the same port, with what it had written.
    pub async fn again(&mut self) {
        self.server = spawn(self.port, &self.folder);
        self.is_up().await;
    }

    /// The output of `redis-cli`.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args([
                "-p",
                &self.port.to_string(),
                "-a",
                PASSWORD,
                "--no-auth-warning",
            ])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn is_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.cli(&["ping"]) != "PONG" {
            assert!(Instant::now() < deadline, "Redis does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Killed already, or now.
        let _ = self.server.kill();
        self.server.wait().unwrap();
    }
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args([
            "--requirepass",
            PASSWORD,
            "--save",
            "",
            "--appendonly",
            "yes",
        ])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
