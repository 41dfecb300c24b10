//! A Redis server for the duration of a test.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use crate::{ports, programs};

const PASSWORD: &str = "only-for-tests";

/// A running `redis-server`, with a password, on a port of its own.
#[derive(Debug)]
pub struct RedisServer {
    server: Child,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server. Returns `None`, with a message, if Redis is not installed.
    pub async fn start(test: &str) -> Option<Self> {
        if !programs::has_programs(test, &["redis-server", "redis-cli"]) {
            return None;
        }
        let [address] = ports::free();
        let folder = TempDir::new().unwrap();
        let server = Self {
            server: spawn(address.port(), &folder),
            port: address.port(),
            folder,
        };
        server.wait_until_up().await;
        Some(server)
    }

    /// The URL, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}/0", self.port)
    }

    /// The host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the server, to simulate a crash.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// Starts the server again after [`Self::kill`], on the same port and with its data.
    pub async fn restart(&mut self) {
        self.server = spawn(self.port, &self.folder);
        self.wait_until_up().await;
    }

    /// Runs `redis-cli` and returns its output.
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

    async fn wait_until_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.cli(&["ping"]) != "PONG" {
            assert!(Instant::now() < deadline, "Redis does not respond");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Does nothing if the server was killed already.
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
