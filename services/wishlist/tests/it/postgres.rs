//! A Postgres server for the duration of a test.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use spoor_testing::programs::skip;
use tempfile::TempDir;

/// Postgres refuses to run as root, so it runs as `nobody`.
const NOBODY: u32 = 65534;

pub struct Postgres {
    server: Child,
    port: u16,
    _data: TempDir,
}

impl Postgres {
    /// Starts a server. Without Postgres, prints a message and returns `None`, or fails with
    /// `SPOOR_REQUIRE_ALL=1`.
    pub fn start() -> Option<Self> {
        let data = TempDir::new().unwrap();
        let folder = data.path().join("postgres");
        fs::create_dir(&folder).unwrap();
        if is_root() {
            chown(data.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let initialized = command("initdb", &folder)
            .args([
                "--username=spoor",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
            ])
            .status();
        match initialized {
            Ok(status) => assert!(status.success(), "initdb: {status}"),
            Err(error) => return absent(&error.to_string()),
        }
        let [port] = spoor_testing::ports::free().map(|it| it.port());
        let server = command("postgres", &folder)
            .args(["-h", "127.0.0.1", "-k", "", "-F", "-p", &port.to_string()])
            .spawn()
            .unwrap();
        Some(Self {
            server,
            port,
            _data: data,
        })
    }

    pub fn url(&self) -> String {
        format!("postgres://spoor:unused@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown, which also ends the server's child processes.
        let pid = Pid::from_raw(self.server.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        self.server.wait().unwrap();
    }
}

fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-D").arg(folder).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn absent(why: &str) -> Option<Postgres> {
    skip("the tests with Postgres", why);
    None
}
