//! The steps of a shutdown.

use std::sync::Arc;

use spoor_runtime::CutOff;
use spoor_traces::{Forwarder, ForwarderSettings, JournalSettings};
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    custody::{self, Custody},
    grace::SEND_GRACE,
    peers::{Deposits, Peers},
    saved::RulesFile,
    send::Sender,
};

/// A task with the token that stops it.
pub(super) struct Task<T> {
    stop: CancellationToken,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn<F>(work: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(work(stop.clone()));
        Self { stop, handle }
    }

    /// Stops the task, and waits for its end.
    async fn end(self) {
        self.stop.cancel();
        log_panic(self.handle.await);
    }
}

/// The parts of a running sampler that end one after another.
pub(super) struct Shutdown {
    pub(super) forwarder: Forwarder,
    pub(super) stop_forwarder: CancellationToken,
    /// The settings of the forwarder, for those that decide in its place on files of others.
    pub(super) settings: ForwarderSettings,
    pub(super) sender: Sender,
    pub(super) peers: Option<Arc<Peers>>,
    pub(super) sending: Task<()>,
    /// The calls to peers.
    pub(super) calls: Option<Task<()>>,
    /// The stream of rules.
    pub(super) stream: Option<Task<()>>,
    pub(super) ops: Task<Result<(), CutOff>>,
}

impl Shutdown {
    /// Shuts down after the last request.
    pub(super) async fn run(self) {
        let (forwarder, sending) = (self.forwarder, self.sending);
        let (peers, mut calls) = (self.peers, self.calls);
        let deposits = match peers.as_ref().filter(|peers| peers.custody.is_some()) {
            Some(peers) => deposit(peers, calls.take()).await,
            None => Deposits::default(),
        };
        let has_deposited = deposits.has_own;
        if has_deposited {
            forwarder.give_up();
            sending.stop.cancel();
        }
        // After the last request, whose spans are decided, too.
        self.stop_forwarder.cancel();
        let deadline = Instant::now() + SEND_GRACE;
        tokio::join!(
            finish_sending(sending, deadline),
            finish_forwarding(peers.as_deref().filter(|_| calls.is_some())),
            decide_custodies(deposits.left, &self.settings, &self.sender, deadline),
        );
        if let Some(calls) = calls {
            calls.end().await;
        }
        forwarder.give_up();
        if !has_deposited {
            log_unsent(&forwarder);
        }
        // After the last decision, which the final report contains.
        if let Some(stream) = self.stream {
            stream.end().await;
        }
        self.ops.end().await;
    }
}

/// Gives the files to peers.
async fn deposit(peers: &Arc<Peers>, calls: Option<Task<()>>) -> Deposits {
    peers.finish_all().await;
    // A call could discard the files that are deposited now.
    if let Some(calls) = calls {
        calls.end().await;
    }
    peers.deposit_all().await
}

async fn finish_forwarding(peers: Option<&Peers>) {
    if let Some(peers) = peers {
        peers.finish_forwarding().await;
    }
}

/// Waits until all spans are sent, or the deadline.
async fn finish_sending(mut sending: Task<()>, deadline: Instant) {
    let ended = match timeout_at(deadline, &mut sending.handle).await {
        Ok(ended) => ended,
        Err(_) => {
            sending.stop.cancel();
            sending.handle.await
        }
    };
    log_panic(ended);
}

/// Logs what is left at the end of a shutdown.
fn log_unsent(forwarder: &Forwarder) {
    let bytes = forwarder.backlog().bytes;
    let traces_waiting = forwarder.totals().traces_gathering;
    let pending = forwarder.forward_pending().into_iter();
    let bytes_for_peers: usize = pending.map(|(_, bytes)| bytes).sum();
    if bytes == 0 && traces_waiting == 0 && bytes_for_peers == 0 {
        return;
    }
    if forwarder.decides_at_shutdown() {
        tracing::error!(
            bytes,
            traces_waiting,
            bytes_for_peers,
            "spans lost, since they could not be sent in time"
        );
    } else {
        tracing::info!(
            bytes,
            traces_waiting,
            bytes_for_peers,
            "spans are left for the next start"
        );
    }
}

/// Decides on the traces in the files of other samplers that no peer keeps, and sends those that are
/// kept, until the deadline.
async fn decide_custodies(
    custodies: Vec<Custody>,
    settings: &ForwarderSettings,
    sender: &Sender,
    deadline: Instant,
) {
    let mut deciding = JoinSet::new();
    for custody in custodies {
        let rules = RulesFile::in_folder(&custody.folder).load_if_valid();
        let max_bytes = settings.journal.as_ref().map_or(0, |it| it.max_bytes);
        let settings = ForwarderSettings {
            rules: rules.map(|rules| (rules.version, rules.table)),
            journal: Some(JournalSettings {
                folder: custody.folder.clone(),
                max_bytes,
            }),
            decides_at_shutdown: true,
            peers: None,
            ..settings.clone()
        };
        deciding.spawn(decide_custody(custody, settings, sender.clone(), deadline));
    }
    while let Some(decided) = deciding.join_next().await {
        log_panic(decided);
    }
}

async fn decide_custody(
    custody: Custody,
    settings: ForwarderSettings,
    sender: Sender,
    deadline: Instant,
) {
    let owner = custody.owner;
    tracing::warn!(
        owner,
        "no peer keeps the files of a sampler; deciding on its traces"
    );
    // Shuts down from the start, so that it decides on all of them at once.
    let stop = CancellationToken::new();
    stop.cancel();
    let starting = spawn_blocking(move || Forwarder::start(settings, stop));
    let forwarder = match timeout_at(deadline, starting).await {
        Ok(Ok(Ok(forwarder))) => forwarder,
        Ok(Ok(Err(error))) => return tracing::error!(%error, owner, "cannot open the files"),
        Ok(Err(error)) => return tracing::error!(%error, owner, "a task has panicked"),
        // The files stay, in case the pod does, too.
        Err(_) => return tracing::error!(owner, "no time to read the files"),
    };
    let sender = sender.with(forwarder.clone());
    finish_sending(Task::spawn(|stop| sender.run(stop)), deadline).await;
    forwarder.give_up();
    log_unsent(&forwarder);
    if let Err(error) = custody::remove(&custody.folder) {
        tracing::warn!(%error, owner, "cannot remove the files of a sampler");
    }
}

fn log_panic<T>(ended: Result<T, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task has panicked");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, sync::mpsc, time::Duration};

    use axum::body::Bytes;
    use opentelemetry_sdk::trace::SpanData;
    use spoor_telemetry::export::{Export, ExportResponse, Sending};
    use spoor_traces::JournalId;
    use tempfile::TempDir;
    use tokio::runtime::Builder;

    use super::*;
    use crate::send::SendCounts;

    struct Accepting;

    impl Export for Accepting {
        fn encode(&self, _: Vec<SpanData>) -> Bytes {
            Bytes::new()
        }

        fn send(&self, _: Bytes) -> Sending<'_> {
            Box::pin(async { Ok(ExportResponse::default()) })
        }
    }

    #[test]
    fn files_that_are_not_read_in_time_stay() {
        let folder = TempDir::new().unwrap();
        let kept = folder.path().join("1");
        fs::create_dir(&kept).unwrap();
        let custody = Custody {
            owner: 1,
            journal: JournalId::from_bytes([1; 16]),
            last_record: 1,
            is_stale: false,
            folder: kept.clone(),
        };
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1);
        let runtime = runtime.build().unwrap();
        let (end, ended) = mpsc::channel::<()>();
        runtime.block_on(async {
            let (settings, stop) = (ForwarderSettings::default(), CancellationToken::new());
            let forwarder = Forwarder::start(settings.clone(), stop).unwrap();
            // Occupies the only thread that could read them.
            let _occupied = spawn_blocking(move || ended.recv());
            let sender = Sender::new(forwarder, Arc::new(Accepting), SendCounts::default());
            let deadline = Instant::now() + Duration::from_millis(10);
            decide_custodies(vec![custody], &settings, &sender, deadline).await;
        });
        drop(end);
        assert!(kept.exists());
    }
}
