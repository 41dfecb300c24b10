//! The steps of a shutdown.

use std::time::Duration;

use spoor_traces::{Forwarder, ForwarderSettings, JournalSettings};
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    custody::{self, Custody},
    peers::Peers,
    saved::RulesFile,
    send::Sender,
};

/// The time to send the last spans. Kubernetes allows 60 s for everything.
const SEND_GRACE: Duration = Duration::from_secs(15);

pub(super) async fn finish_forwarding(peers: Option<&Peers>) {
    if let Some(peers) = peers {
        peers.finish_forwarding().await;
    }
}

/// Waits until all spans are sent, or the grace period ends.
pub(super) async fn finish_sending(mut sending: JoinHandle<()>, give_up: CancellationToken) {
    let ended = match timeout(SEND_GRACE, &mut sending).await {
        Ok(ended) => ended,
        Err(_) => {
            give_up.cancel();
            sending.await
        }
    };
    log_panic(ended);
}

/// Logs what is left at the end of a shutdown.
pub(super) fn log_unsent(forwarder: &Forwarder) {
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
/// kept.
pub(super) async fn decide_custodies(
    custodies: Vec<Custody>,
    settings: &ForwarderSettings,
    sender: &Sender,
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
        deciding.spawn(decide_custody(custody, settings, sender.clone()));
    }
    while let Some(decided) = deciding.join_next().await {
        log_panic(decided);
    }
}

async fn decide_custody(custody: Custody, settings: ForwarderSettings, sender: Sender) {
    let owner = custody.owner;
    tracing::warn!(
        owner,
        "no peer keeps the files of a sampler; deciding on its traces"
    );
    let (shutdown, give_up) = (CancellationToken::new(), CancellationToken::new());
    let stop = shutdown.clone();
    let forwarder = match spawn_blocking(move || Forwarder::start(settings, stop)).await {
        Ok(Ok(forwarder)) => forwarder,
        Ok(Err(error)) => return tracing::error!(%error, owner, "cannot open the files"),
        Err(error) => return tracing::error!(%error, owner, "a task has panicked"),
    };
    shutdown.cancel();
    let sending = tokio::spawn(sender.with(forwarder.clone()).run(give_up.clone()));
    finish_sending(sending, give_up).await;
    forwarder.give_up();
    log_unsent(&forwarder);
    if let Err(error) = custody::remove(&custody.folder) {
        tracing::warn!(%error, owner, "cannot remove the files of a sampler");
    }
}

pub(super) fn log_panic<T>(ended: Result<T, tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task has panicked");
    }
}
