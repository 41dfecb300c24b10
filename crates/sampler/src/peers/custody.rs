//! This sampler's own files, while a peer keeps them: gets them back at a start, and gives them to
//! a peer at a shutdown, together with those that this sampler keeps for others.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use spoor_proto::spoor::sampler::v1::{
    self as wire, CustodyMessage, DiscardRequest, Envelope, WithdrawRequest,
    custody_message::Message,
};
use spoor_runtime::with_causes;
use spoor_telemetry::grpc::within;
use spoor_traces::{ForwarderSettings, JournalError, JournalId};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{
    FORWARD_CHECK_INTERVAL, Peers,
    client::{CALL_DEADLINE, Client, connect},
};
use crate::{
    custody::{Custody, CustodyFolder, remove, remove_incomplete, transfer},
    grace::{DEPOSIT_GRACE, FORWARD_GRACE, UNDO_GRACE},
    in_force::RulesInForce,
    sampler::log_recovery,
};

/// The time for which a starting sampler looks for its files while a peer does not respond. A
/// restart takes less.
const MAX_SEARCH_TIME: Duration = Duration::from_secs(60);
/// The interval at which it asks the peers.
const SEARCH_INTERVAL: Duration = Duration::from_millis(200);
/// The time for its own files to arrive: a journal of a gigabyte on a slow network.
const MAX_TRANSFER_TIME: Duration = Duration::from_secs(60);
/// The delay after a failure to save the rings.
const SAVE_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The result of depositing files with peers at a shutdown.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    /// A peer has this sampler's own files, if there are any.
    pub(crate) has_own: bool,
    /// The files of other samplers that no peer keeps.
    pub(crate) left: Vec<Custody>,
}

/// The responses of the peers to a request for the files, by ordinal.
#[derive(Default)]
struct Responses {
    custodies: Vec<(u16, wire::Custody)>,
    /// The peers that keep none, with the IDs of their processes.
    absences: Vec<(u16, String)>,
    /// The peers without a response.
    silent: Vec<u16>,
}

impl Peers {
    /// Opens the journal if it is not open, with the files that a peer keeps, if one does.
    ///
    /// # Errors
    /// [`JournalError`] if the journal cannot be opened.
    pub(crate) async fn restore(
        &self,
        settings: &ForwarderSettings,
        rules: &RulesInForce,
    ) -> Result<(), JournalError> {
        let Some(custody) = &self.custody else {
            return Ok(());
        };
        if !self.delay.borrow().is_over {
            // The rings show all samplers that may have the files.
            let mut delay = self.delay.subscribe();
            let _ = delay.wait_for(|delay| delay.rings.is_some()).await.is_ok();
            let peer = self.find_files(custody).await;
            if peer.is_none() {
                remove_incomplete_files(custody).await?;
            }
            rules.load();
            self.open_journal(settings.clone()).await?;
            log_recovery(self.forwarder.recovery());
            // Before the first span is accepted. The other peers get this call once the rings are
            // in force.
            if let Some(peer) = peer
                && let Ok(client) = connect(self, peer)
                && let Err(status) = self.discard(&client, peer).await
            {
                tracing::warn!(
                    peer,
                    reason = with_causes(&status),
                    "cannot discard the files that a peer keeps"
                );
            }
            self.end_delay().await;
        }
        let _turn = custody.turn.lock().await;
        let updated = custody.on_blocking_thread(CustodyFolder::update_room).await;
        updated.map_err(|source| unusable(custody, source))
    }

    async fn open_journal(&self, settings: ForwarderSettings) -> Result<(), JournalError> {
        let path = settings.journal.as_ref().map(|it| it.folder.clone());
        let forwarder = self.forwarder.clone();
        let opened = spawn_blocking(move || forwarder.open_journal(&settings)).await;
        opened.map_err(|error| JournalError::Open {
            path: path.unwrap_or_default(),
            source: io::Error::other(error),
        })?
    }

    /// Puts the newest rings that have arrived in force, and from now on rings as they arrive.
    async fn end_delay(&self) {
        let mut delayed = None;
        self.delay.send_modify(|delay| {
            delay.is_over = true;
            delayed = delay.rings.take();
        });
        while let Some(rings) = delayed.clone()
            && let Err(error) = self.put_in_force(rings).await
        {
            // The control plane does not send them again.
            tracing::warn!(%error, "cannot save the rings; retrying");
            sleep(SAVE_RETRY_DELAY).await;
        }
    }

    /// Gets this sampler's own files from the peer that has the latest ones, and returns the peer.
    /// `None` if no peer has any, or if none could be received in time.
    ///
    /// A peer may be given the files after it responded. So none of them has the files only if all
    /// respond twice, and no process has changed meanwhile: a peer that passes the files on no
    /// longer responds.
    async fn find_files(&self, custody: &Arc<CustodyFolder>) -> Option<u16> {
        let deadline = Instant::now() + MAX_SEARCH_TIME;
        let mut former: Option<Vec<(u16, String)>> = None;
        loop {
            let Responses {
                custodies,
                absences,
                silent,
            } = self.ask_peers().await;
            let is_late = Instant::now() >= deadline;
            if is_late && !silent.is_empty() {
                tracing::error!(
                    ?silent,
                    "no response from peers that may have the files of this sampler"
                );
            }
            let is_complete = is_late || silent.is_empty();
            let latest = custodies.into_iter().max_by_key(|(_, header)| {
                let journal = header.journal.clone();
                (journal, header.last_record)
            });
            match latest.filter(|_| is_complete) {
                Some((peer, header)) => match self.withdraw(custody, peer, &header).await {
                    Ok(()) => {
                        tracing::info!(peer, bytes = header.bytes, "got this sampler's files");
                        return Some(peer);
                    }
                    Err(status) => {
                        let reason = with_causes(&status);
                        tracing::warn!(peer, reason, "cannot get the files of this sampler");
                    }
                },
                None if is_complete && former.as_ref() == Some(&absences) => return None,
                None => {}
            }
            if is_late {
                tracing::error!("starting without the files that an earlier pod may have left");
                return None;
            }
            former = is_complete.then_some(absences);
            sleep(SEARCH_INTERVAL).await;
        }
    }

    async fn ask_peers(&self) -> Responses {
        let mut responses = Responses::default();
        for ordinal in self.ordinals() {
            match self.begin_withdrawal(ordinal).await {
                Ok((Message::Custody(header), _)) => responses.custodies.push((ordinal, header)),
                Ok((Message::Absence(absence), _)) => {
                    responses.absences.push((ordinal, absence.start));
                }
                Ok((Message::Piece(_), _)) | Err(_) => responses.silent.push(ordinal),
            }
        }
        responses
    }

    /// Requests this sampler's own files; returns the first message, and the stream of the others.
    async fn begin_withdrawal(
        &self,
        ordinal: u16,
    ) -> Result<(Message, Streaming<CustodyMessage>), Status> {
        let mut client = connect(self, ordinal)?;
        let request = WithdrawRequest {
            envelope: Some(self.envelope(ordinal)),
        };
        let begin = async {
            let mut messages = client.withdraw(request).await?.into_inner();
            let first = messages.message().await?;
            let first = first.and_then(|first| first.message);
            let first = first.ok_or_else(|| Status::aborted("the response is empty"))?;
            Ok::<_, Status>((first, messages))
        };
        let late = |_| Status::deadline_exceeded("no response in time");
        timeout(CALL_DEADLINE, begin).await.map_err(late)?
    }

    /// Gets this sampler's own files from a peer.
    async fn withdraw(
        &self,
        custody: &Arc<CustodyFolder>,
        peer: u16,
        header: &wire::Custody,
    ) -> Result<(), Status> {
        let (first, mut messages) = self.begin_withdrawal(peer).await?;
        if first != Message::Custody(header.clone()) {
            return Err(Status::aborted("the peer has other files now"));
        }
        // Otherwise, files of an earlier attempt could be mistaken for a part of these.
        let removed = remove_incomplete_files(custody).await;
        removed.map_err(|error| Status::internal(error.to_string()))?;
        let incoming = custody.incoming();
        let receiving = transfer::receive(&mut messages, header, &incoming);
        let late = |_| Status::deadline_exceeded("the files do not arrive in time");
        let received = timeout(MAX_TRANSFER_TIME, receiving).await;
        received.map_err(late)??;
        let installed = custody.on_blocking_thread(CustodyFolder::install).await;
        installed.map_err(|error| Status::internal(error.to_string()))
    }

    /// Ends the custody that a peer may have of this sampler's own files.
    pub(super) async fn discard(&self, client: &Client, peer: u16) -> Result<(), Status> {
        let journal = self.forwarder.journal_id();
        let journal = journal.ok_or_else(|| Status::internal("there is no journal"))?;
        let request = DiscardRequest {
            envelope: Some(self.envelope(peer)),
            journal: id(journal),
            last_record: self.forwarder.last_record(),
        };
        let discard = async |request| client.clone().discard(request).await;
        within(CALL_DEADLINE, request, discard).await.map(|_| ())
    }

    pub(super) fn envelope(&self, to: u16) -> Envelope {
        Envelope {
            stack: self.settings.stack.clone(),
            from: u32::from(self.settings.own),
            to: u32::from(to),
        }
    }

    /// Waits until kept spans are sent and those for peers are handed over, or the grace period
    /// ends. The next sampler with this ordinal then has less to do, or to do again.
    pub(crate) async fn finish_all(&self) {
        let finishing = async {
            while self.has_pending() || self.forwarder.backlog().bytes > 0 {
                sleep(FORWARD_CHECK_INTERVAL).await;
            }
        };
        let _ = timeout(FORWARD_GRACE, finishing).await;
    }

    /// Gives this sampler's own files, and those kept for others, to peers that take them. Nothing
    /// else may call peers meanwhile.
    pub(crate) async fn deposit_all(self: &Arc<Self>) -> Deposits {
        let mut deposits = Deposits::default();
        let Some(custody) = &self.custody else {
            return deposits;
        };
        let deadline = Instant::now() + DEPOSIT_GRACE;
        deposits.has_own = self.deposit_own(custody, deadline).await;
        let kept = custody.on_blocking_thread(CustodyFolder::all).await;
        let kept = kept.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the files of other samplers");
            Vec::new()
        });
        for custody in kept {
            // A sampler that was removed does not come back.
            let is_needed = !custody.is_stale && self.is_member(custody.owner);
            if is_needed && self.deposit(&custody, deadline).await {
                let _ = spawn_blocking(move || remove(&custody.folder)).await;
            } else {
                deposits.left.push(custody);
            }
        }
        deposits
    }

    /// Closes the journal and gives its files to a peer; returns whether a peer has them. If no
    /// peer takes them, reopens the journal.
    async fn deposit_own(self: &Arc<Self>, custody: &CustodyFolder, deadline: Instant) -> bool {
        let owner = self.settings.own;
        let Some(journal) = self.forwarder.journal_id() else {
            // Not opened since the start, so a peer still has the files, if there are any, even if
            // a copy of them is arriving here.
            return true;
        };
        if !self.is_member(owner) {
            return false;
        }
        let forwarder = self.forwarder.clone();
        let closed = spawn_blocking(move || forwarder.close_journal()).await;
        let Some(last_record) = closed.ok().flatten() else {
            return false;
        };
        let own = Custody {
            owner,
            journal,
            last_record,
            is_stale: false,
            folder: custody.journal().to_owned(),
        };
        let is_deposited = self.deposit(&own, deadline).await;
        if !is_deposited {
            // Otherwise the next sampler could decide again what this one decides now.
            let _ = timeout(UNDO_GRACE, self.discard_all()).await;
            self.forwarder.reopen_journal();
        }
        is_deposited
    }

    /// Ends the custody of this sampler's own files at a peer that took them although its response
    /// is missing.
    async fn discard_all(self: &Arc<Self>) {
        // At the same time, since an unavailable peer must not use up the time of the others.
        let mut discarding = JoinSet::new();
        for peer in self.ordinals() {
            let peers = Arc::clone(self);
            discarding.spawn(async move {
                if let Ok(client) = connect(&peers, peer) {
                    // Usually the peers are not running either.
                    let _ = peers.discard(&client, peer).await;
                }
            });
        }
        while discarding.join_next().await.is_some() {}
    }

    /// Returns whether a sampler is in a ring, or may be.
    fn is_member(&self, ordinal: u16) -> bool {
        let rings = self.forwarder.rings();
        rings.is_none_or(|rings| rings.has_member(ordinal))
    }

    /// Gives files to the next peer that takes them; returns whether one does.
    async fn deposit(&self, custody: &Custody, deadline: Instant) -> bool {
        let (owner, own) = (custody.owner, self.settings.own);
        let mut peers = self.ordinals();
        peers.retain(|peer| *peer != owner);
        // Each sampler begins with the one after it, so that one does not get all files.
        peers.sort_by_key(|peer| (*peer < own, *peer));
        for peer in peers {
            let reason = match timeout_at(deadline, self.deposit_with(peer, custody)).await {
                Ok(Ok(())) => {
                    tracing::info!(owner, peer, "a peer keeps the files of a sampler");
                    return true;
                }
                Ok(Err(status)) => with_causes(&status),
                Err(_) => "no response in time".to_owned(),
            };
            tracing::info!(
                owner,
                peer,
                reason,
                "a peer does not keep the files of a sampler"
            );
        }
        false
    }

    async fn deposit_with(&self, peer: u16, custody: &Custody) -> Result<(), Status> {
        let folder = custody.folder.clone();
        let files = spawn_blocking(move || transfer::open(&folder)).await;
        let files = files.map_err(io::Error::other).flatten();
        let files = files.map_err(|error| Status::internal(error.to_string()))?;
        let header = wire::Custody {
            envelope: Some(self.envelope(peer)),
            owner: u32::from(custody.owner),
            journal: id(custody.journal),
            last_record: custody.last_record,
            bytes: transfer::size(&files),
        };
        // If the deadline drops this future, the call goes on until its messages end.
        let stop = CancellationToken::new();
        let _stop_at_end = stop.clone().drop_guard();
        let messages = transfer::messages(header, files);
        let messages = messages.take_while(move |_| !stop.is_cancelled());
        let mut client = connect(self, peer)?;
        let mut responses = client.deposit(messages).await?.into_inner();
        let response = responses.message().await?;
        response
            .map(|_| ())
            .ok_or_else(|| Status::aborted("the response is empty"))
    }
}

/// Removes this sampler's own files that have arrived only in part.
async fn remove_incomplete_files(custody: &Arc<CustodyFolder>) -> Result<(), JournalError> {
    let remove = |custody: &CustodyFolder| remove_incomplete(custody.journal());
    let removed = custody.on_blocking_thread(remove).await;
    removed.map_err(|source| unusable(custody, source))
}

fn unusable(custody: &CustodyFolder, source: io::Error) -> JournalError {
    JournalError::Open {
        path: custody.journal().to_owned(),
        source,
    }
}

/// The ID of a journal, in a message.
pub(super) fn id(journal: JournalId) -> Bytes {
    Bytes::copy_from_slice(&journal.to_bytes())
}
