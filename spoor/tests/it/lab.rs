//! A lab for one test, killed when the test ends.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// The deadline for steps that take milliseconds on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The deadline for a command or script. The script of one lesson sends twenty thousand requests.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(300);

/// A running lab.
pub struct Lab {
    process: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    urls: BTreeMap<String, String>,
    http: reqwest::Client,
    folder: TempDir,
}

/// The outcome of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Lab {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options).await
    }

    /// Replaces `{folder}` in an option with the lab's folder.
    pub async fn start_in(folder: TempDir, options: &[&str]) -> Self {
        Self::start_logging_to(Stdio::inherit(), folder, options).await
    }

    /// Redirects the standard error of the lab and its services.
    pub async fn start_logging_to(
        log: impl Into<Stdio>,
        folder: TempDir,
        options: &[&str],
    ) -> Self {
        let mut program = command();
        program.stderr(log);
        Self::start_program(program, folder, options).await
    }

    /// A lab with these environment variables.
    pub async fn start_in_environment(variables: &[(&str, &str)], options: &[&str]) -> Self {
        let mut program = command();
        program.envs(variables.iter().copied());
        Self::start_program(program, tempfile::tempdir().unwrap(), options).await
    }

    /// A lab in an environment with this HTTP proxy.
    pub async fn start_behind(proxy: &str) -> Self {
        let mut program = command();
        program.env("http_proxy", proxy);
        program.env_remove("no_proxy").env_remove("NO_PROXY");
        let options = ["--services", "service-b"];
        Self::start_program(program, tempfile::tempdir().unwrap(), &options).await
    }

    async fn start_program(mut program: Command, folder: TempDir, options: &[&str]) -> Self {
        let path = folder.path().to_str().unwrap();
        let mut process = program
            // In a debug build the default takes most of a CPU at a few requests per second.
            .env("SPOOR_B_CALC", "250")
            .args(["up", "--output", "json", "--data"])
            .arg(folder.path().join("data"))
            // Not needed if the options set the ports.
            .args((!has_ports(options)).then_some("--any-ports"))
            .args(
                options
                    .iter()
                    .map(|option| option.replace("{folder}", path)),
            )
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(DEADLINE, stdout.next_line())
            .await
            .expect("ready in time");
        let ready: Value =
            serde_json::from_str(&ready.unwrap().expect("a line when ready")).unwrap();
        assert_eq!(ready["event"], "ready");
        let urls = serde_json::from_value(ready["urls"].clone()).unwrap();
        // Each request has its own connection, so that none fails because an idle one was closed.
        let http = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        Self {
            process,
            stdout,
            urls,
            http,
            folder,
        }
    }

    pub fn url(&self, name: &str) -> &str {
        &self.urls[name]
    }

    /// All addresses, by name.
    pub fn urls(&self) -> &BTreeMap<String, String> {
        &self.urls
    }

    /// The options that give another lab the same ports.
    pub fn ports(&self) -> Vec<String> {
        let option = |(name, url): (&String, &String)| {
            let listener = if name == "traces" { "query-http" } else { name };
            let port = url.rsplit(':').next().unwrap();
            format!("--port-{listener}={port}")
        };
        self.urls.iter().map(option).collect()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// Runs a subcommand for this lab.
    pub async fn spoor(&self, arguments: &[&str]) -> Ended {
        self.spoor_with_input("", arguments).await
    }

    /// Runs a subcommand for this lab with this standard input.
    pub async fn spoor_with_input(&self, input: &str, arguments: &[&str]) -> Ended {
        run(
            command()
                .env("SPOOR_LAB", self.url("admin"))
                .args(arguments),
            input,
        )
        .await
    }

    /// The output of a subcommand that must succeed.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        succeeded(self.spoor(arguments).await)
    }

    /// The output of a subcommand that must succeed with this standard input.
    pub async fn ok_with_input(&self, input: &str, arguments: &[&str]) -> String {
        succeeded(self.spoor_with_input(input, arguments).await)
    }

    /// The JSON output of `traces` or `trace` for this lab.
    pub async fn traces(&self, arguments: &[&str]) -> Value {
        let printed = self
            .traces_text(&[arguments, &["--output", "json"]].concat())
            .await;
        serde_json::from_str(&printed).unwrap()
    }

    /// The text output of `traces` or `trace` for this lab.
    pub async fn traces_text(&self, arguments: &[&str]) -> String {
        succeeded(
            run(
                command()
                    .env("SPOOR_TRACES_URL", self.url("traces"))
                    .args(arguments),
                "",
            )
            .await,
        )
    }

    /// Waits until a trace can be queried.
    pub async fn wait_for_trace(&self, id: &str) {
        let trace = ["trace", id, "--traces-url", self.url("traces")];
        let is_found = |ended: &Ended| ended.code == Some(0);
        eventually("the trace", || self.spoor(&trace), is_found).await;
    }

    /// Sends load to service-a, and returns the summary.
    pub async fn load(&self, arguments: &[&str]) -> Value {
        let mut load = command();
        load.env("SPOOR_LOAD_URL", self.url("service-a"));
        let ended = run(load.args(["load", "--output", "json"]).args(arguments), "").await;
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
    }

    /// Applies a policy and waits until every instance has it.
    pub async fn apply(&self, policy: &str) -> String {
        succeeded(
            self.spoor_with_input(policy, &["apply", "-f", "-", "--wait"])
                .await,
        )
    }

    pub async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments).await).unwrap()
    }

    pub async fn status(&self) -> Value {
        let url = format!("{}/v1/status", self.url("admin"));
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub async fn service(&self, name: &str) -> Value {
        let status = self.status().await;
        let services = status["services"].as_array().unwrap();
        services
            .iter()
            .find(|service| service["name"] == name)
            .unwrap()
            .clone()
    }

    /// Sends a request through service-a. True if its trace is sampled.
    pub async fn request(&self) -> bool {
        request(&self.http, self.url("service-a")).await.unwrap()
    }

    /// Sends requests, and returns how many are sampled.
    pub async fn requests(&self, number: usize) -> usize {
        let mut sampled = 0;
        for _ in 0..number {
            sampled += usize::from(self.request().await);
        }
        sampled
    }

    /// Stops the lab, and returns its last output and its exit code.
    pub async fn stop(mut self, signal: &str) -> (Value, Option<i32>) {
        send(signal, self.pid());
        let ended = async {
            let last = self
                .stdout
                .next_line()
                .await
                .unwrap()
                .expect("a line when stopped");
            let status = self.process.wait().await.unwrap();
            (serde_json::from_str(&last).unwrap(), status.code())
        };
        tokio::time::timeout(DEADLINE, ended)
            .await
            .expect("stopped in time")
    }

    /// Kills the lab. Its folder stays.
    pub async fn kill(mut self) -> TempDir {
        self.process.kill().await.unwrap();
        self.folder
    }
}

fn has_ports(options: &[&str]) -> bool {
    options.iter().any(|option| option.starts_with("--port-"))
}

/// A request without wait or calculation. True if its trace is sampled.
pub async fn request(http: &reqwest::Client, service_a: &str) -> Result<bool, String> {
    let url = format!("{service_a}/?wait=0ms&calc=0");
    let response = http
        .get(url)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    if !response.status().is_success() {
        return Err(format!("{response:?}"));
    }
    let header = response.headers()["traceresponse"].to_str().unwrap();
    let flags = u8::from_str_radix(header.rsplit('-').next().unwrap(), 16).unwrap();
    Ok(flags & 1 == 1)
}

/// A command that runs the program under test.
pub fn command() -> Command {
    let mut command = command_of(env!("CARGO_BIN_EXE_spoor"));
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    command
}

/// A command that runs any program, killed when dropped.
pub fn command_of(program: &str) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(command: &mut Command, input: &str) -> Ended {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // A command that does not read its input may have ended already.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(SCRIPT_DEADLINE, process.wait_with_output()).await;
    let output = output.expect("ends in time").unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

pub fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

pub fn send(signal: &str, pid: u32) {
    let status = std::process::Command::new("kill")
        .args([signal, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

pub fn is_running(pid: u32) -> bool {
    // A zombie is a process that has ended.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Repeats a read until its result is as expected, with a deadline.
pub async fn eventually<T: Debug, F: Future<Output = T>>(
    what: &str,
    mut read: impl FnMut() -> F,
    is_expected: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = read().await;
        if is_expected(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: last seen {seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A policy for all traces that start at service-a.
pub fn policy(name: &str, probability: &str) -> String {
    format!(
        "apiVersion: spoor.dev/v1alpha1\n\
         kind: SamplingPolicy\n\
         metadata:\n  name: {name}\n\
         spec:\n  targets:\n  - service: service-a\n  head:\n    probability: {probability}\n"
    )
}
