//! The process of one service, across its restarts.

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
use spoor_runtime::Backoff;
use tokio::{process, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    logs::Logs,
    ready::Readiness,
    roster::{Process, Roster},
};
use crate::{service::Service, settings::REDIS_URL};

/// The variable that is set for child processes, which then end when their standard input closes
/// and so do not outlive the lab.
pub const SUPERVISED: &str = "SPOOR_SUPERVISED";

/// The variable that limits the spans waiting for export, and its value for services: a quarter
/// of its default, since the spans of all services wait at the same time, up to 32 MiB of each.
const MAX_QUEUE_SIZE: (&str, &str) = ("OTEL_BSP_MAX_QUEUE_SIZE", "16384");

/// The delay before a service that ended is restarted, which doubles each time it ends early.
const MIN_RESTART_DELAY: Duration = Duration::from_millis(100);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(10);
/// The lifetime after which a process counts as stable, and the delay starts over.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The time to read the remaining output of a process that has ended. It is limited because a
/// process that it started may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// The specification for starting a service.
#[derive(Clone)]
pub(crate) struct Spec {
    /// The service.
    pub(crate) service: Service,
    /// The path of this program.
    pub(crate) executable: PathBuf,
    /// The environment variables in addition to the lab's.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// The address of the ops port.
    pub(crate) ops: SocketAddr,
}

/// A supervised service.
pub(super) struct Supervised {
    pub(super) spec: Spec,
    pub(super) roster: Arc<Roster>,
    pub(super) logs: Logs,
    pub(super) readiness: Readiness,
    pub(super) stop: CancellationToken,
    pub(super) grace: Duration,
}

impl Supervised {
    /// Starts the process, and restarts it whenever it ends, until stopped.
    pub(super) async fn run(self) {
        let service = self.spec.service;
        let mut backoff = Backoff::new(MIN_RESTART_DELAY);
        loop {
            let started = Instant::now();
            let reason = match self.spawn() {
                Ok(process) => match self.watch(process).await {
                    Some(status) => format!("ended ({status})"),
                    None => break,
                },
                Err(error) => format!("could not be started ({error})"),
            };
            let is_failure = self.roster.record_ended(service, reason.clone());
            if started.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            let delay = match is_failure {
                true => backoff.next_delay(MAX_RESTART_DELAY),
                false => MIN_RESTART_DELAY,
            };
            tracing::warn!(%service, reason, ?delay, "restarting service");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => break,
            }
        }
        self.roster.record_stopped(service);
    }

    fn spawn(&self) -> io::Result<process::Child> {
        // A new ID for each process, so that no acknowledgement is expected from one that has
        // ended.
        let instance = uuid::Uuid::new_v4().to_string();
        let mut command = process::Command::new(&self.spec.executable);
        // An endpoint or header meant for the lab's own exporter would divert the services' spans.
        for name in variables_to_remove() {
            command.env_remove(name);
        }
        if std::env::var_os(MAX_QUEUE_SIZE.0).is_none() {
            command.env(MAX_QUEUE_SIZE.0, MAX_QUEUE_SIZE.1);
        }
        let child = command
            .args(["run", self.spec.service.name()])
            .envs(self.spec.environment.clone())
            .env("OTEL_RESOURCE_ATTRIBUTES", resource_attributes(&instance))
            .env(SUPERVISED, "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // In a process group of its own, the child does not receive Ctrl-C from the terminal,
            // so that the lab can stop the services in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        // There is an ID until the process has been waited for.
        let pid = child.id().unwrap_or_default();
        self.roster
            .record_started(self.spec.service, Process { pid, instance });
        Ok(child)
    }

    /// Waits until the process ends, and returns its status. `None` if the lab is stopping.
    async fn watch(&self, mut child: process::Child) -> Option<ExitStatus> {
        // Keeps the child's standard input open, which `Child::wait` would close.
        let _stdin = child.stdin.take();
        let mut output = self.follow(&mut child);
        let ready = self.readiness.wait(self.spec.ops);
        let restart = self.roster.wait_for_restart_request(self.spec.service);
        tokio::pin!(ready, restart);
        // A future that has completed must not be polled again.
        let (mut is_ready, mut is_restarting) = (false, false);
        let ended = loop {
            tokio::select! {
                status = child.wait() => break Some(self.status_or_default(status)),
                () = &mut ready, if !is_ready => {
                    is_ready = true;
                    self.roster.record_ready(self.spec.service);
                }
                () = &mut restart, if !is_restarting => {
                    is_restarting = true;
                    self.send_sigterm(&child);
                }
                () = self.stop.cancelled() => {
                    self.terminate(&mut child).await;
                    break None;
                }
            }
        };
        let remaining_output = async { while output.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(OUTPUT_GRACE, remaining_output).await;
        ended
    }

    fn status_or_default(&self, status: io::Result<ExitStatus>) -> ExitStatus {
        status.unwrap_or_else(|error| {
            tracing::error!(%error, service = %self.spec.service, "exit status unknown");
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
        if self.send_sigterm(child) {
            if tokio::time::timeout(grace, child.wait()).await.is_ok() {
                return;
            }
            tracing::warn!(%service, ?grace, "service did not end in time; killing it");
        }
        if let Err(error) = child.kill().await {
            tracing::error!(%error, %service, "cannot kill the service");
        }
    }

    /// Sends SIGTERM to the process, unless it has been waited for. Returns whether that succeeded.
    fn send_sigterm(&self, child: &process::Child) -> bool {
        // Without an ID, the process has ended by itself.
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw);
        let signalled = pid.map_or(Ok(()), |pid| kill_process(pid, Signal::TERM));
        if let Err(error) = &signalled {
            tracing::warn!(%error, service = %self.spec.service, "cannot send SIGTERM");
        }
        signalled.is_ok()
    }
}

/// The inherited variables to remove: those of the lab's own exporter, and the Redis URL, which the
/// lab sets itself.
fn variables_to_remove() -> impl Iterator<Item = OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| {
        name.as_encoded_bytes().starts_with(b"OTEL_EXPORTER_OTLP_") || name == REDIS_URL
    })
}

/// The resource attributes of the lab's own environment, with the namespace and the instance ID.
fn resource_attributes(instance: &str) -> String {
    let own = std::env::var("OTEL_RESOURCE_ATTRIBUTES")
        .ok()
        .filter(|own| !own.is_empty());
    let own = own.map(|own| format!("{own},")).unwrap_or_default();
    format!("{own}service.namespace=default,service.instance.id={instance}")
}
