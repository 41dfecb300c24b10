//! One service's process, over its lives.

use std::{
    ffi::OsString,
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    logs::Logs,
    ready::Readiness,
    roster::{Process, Roster},
};
use crate::{lab::addresses::REDIS_URL, service::Service};

/// Set for a child: it ends when its standard input does, and so never outlives the lab.
pub const SUPERVISED: &str = "SPOOR_SUPERVISED";

/// How long a dead process's output is still read: something that it started may hold it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a service is started.
#[derive(Clone)]
pub struct Spec {
    /// Which.
    pub service: Service,
    /// This program.
    pub executable: PathBuf,
    /// Its environment, besides the lab's.
    pub environment: Vec<(String, String)>,
    /// Where it says whether it is ready.
    pub ops: SocketAddr,
}

/// A service and all that its supervisor needs.
pub(super) struct Supervised {
    pub(super) spec: Spec,
    pub(super) roster: Arc<Roster>,
    pub(super) logs: Logs,
    pub(super) readiness: Readiness,
    pub(super) stop: CancellationToken,
    pub(super) grace: Duration,
}

impl Supervised {
    /// Starts the process, again whenever it ends, until told to stop.
    pub(super) async fn run(self) {
        let service = self.spec.service;
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            let ended = match self.spawn() {
                Ok(process) => match self.watch(process).await {
                    Some(status) => {
                        self.roster.ended(service, status);
                        format!("ended ({status})")
                    }
                    None => break,
                },
                Err(error) => {
                    self.roster.not_started(service, error.to_string());
                    format!("could not be started: {error}")
                }
            };
            let wait = backoff.after(started.elapsed());
            tracing::warn!("{service} {ended}; starting it again in {wait:?}");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => break,
            }
        }
        self.roster.stopped(service);
    }

    fn spawn(&self) -> io::Result<process::Child> {
        let instance = uuid::Uuid::new_v4().to_string();
        let mut command = process::Command::new(&self.spec.executable);
        for name in inherited_settings() {
            command.env_remove(name);
        }
        let child = command
            .args(["run", self.spec.service.name()])
            .envs(
                self.spec
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .env("OTEL_RESOURCE_ATTRIBUTES", resource_attributes(&instance))
            .env(SUPERVISED, "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal reaches the lab alone, which then stops them in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        self.roster
            .started(self.spec.service, Process { pid, instance });
        Ok(child)
    }

    /// How it ended by itself; none when it was told to.
    async fn watch(&self, mut child: process::Child) -> Option<ExitStatus> {
        // Open as long as the lab lives; waiting for the process would close it.
        let _lifeline = child.stdin.take();
        let mut output = self.follow(&mut child);
        let ready = self.readiness.wait(self.spec.ops);
        tokio::pin!(ready);
        let mut is_ready = false;
        let ended = loop {
            tokio::select! {
                status = child.wait() => break Some(self.known(status)),
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    self.roster.ready(self.spec.service);
                }
                () = self.stop.cancelled() => {
                    self.terminate(&mut child).await;
                    break None;
                }
            }
        };
        let last_words = async { while output.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        ended
    }

    fn known(&self, status: io::Result<ExitStatus>) -> ExitStatus {
        status.unwrap_or_else(|error| {
            tracing::error!("can't tell how {} ended: {error}", self.spec.service);
            ExitStatus::default()
        })
    }

    fn follow(&self, child: &mut process::Child) -> JoinSet<()> {
        let mut output = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            output.spawn(self.logs.clone().follow(self.spec.service, stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            output.spawn(self.logs.clone().follow(self.spec.service, stderr));
        }
        output
    }

    async fn terminate(&self, child: &mut process::Child) {
        let (service, grace) = (self.spec.service, self.grace);
        let asked = ask_to_end(child);
        if let Err(error) = &asked {
            tracing::warn!("can't ask {service} to end: {error}");
        } else if tokio::time::timeout(grace, child.wait()).await.is_ok() {
            return;
        } else {
            tracing::warn!("{service} has not ended within {grace:?}: killing it");
        }
        if let Err(error) = child.kill().await {
            tracing::error!("can't kill {service}: {error}");
        }
    }
}

fn ask_to_end(child: &process::Child) -> io::Result<()> {
    // None: it has ended by itself.
    child.id().map_or(Ok(()), tell_to_end)
}

/// Tells a child's process to end.
pub fn tell_to_end(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.map_or(Ok(()), |pid| Ok(kill_process(pid, Signal::TERM)?))
}

/// Those that the lab decides: services export to it, and keep their data where it says.
fn inherited_settings() -> impl Iterator<Item = OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| {
        name.as_encoded_bytes().starts_with(b"OTEL_EXPORTER_OTLP_") || name == REDIS_URL
    })
}

/// Those of the lab's own environment, and the instance's id.
fn resource_attributes(instance: &str) -> String {
    let own = std::env::var("OTEL_RESOURCE_ATTRIBUTES")
        .ok()
        .filter(|own| !own.is_empty());
    let own = own.map(|own| format!("{own},")).unwrap_or_default();
    format!("{own}service.namespace=default,service.instance.id={instance}")
}
