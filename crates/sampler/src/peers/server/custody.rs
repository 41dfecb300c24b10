//! Keeps the files of other samplers.

use std::{io, sync::Arc};

use spoor_proto::spoor::sampler::v1::{
    self as wire, Absence, CustodyMessage, DiscardRequest, WithdrawRequest,
    custody_message::Message,
};
use spoor_traces::JournalId;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Status, Streaming, codegen::BoxStream};

use super::{Server, journal, leaving};
use crate::{
    custody::{CustodyFolder, transfer},
    grace::DEPOSIT_GRACE,
    peers::custody::id,
    phase::Phase,
};

impl Server {
    /// Keeps the files of the sender, or of another sampler, unless the sender has stopped waiting
    /// for the response: then it gives them to another peer, or decides on their traces itself.
    pub(super) async fn receive_custody(
        &self,
        mut messages: Streaming<CustodyMessage>,
        is_awaited: impl Fn() -> bool,
    ) -> Result<(), Status> {
        let first = messages.message().await?;
        let Some(Message::Custody(header)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument(
                "the first message must be a custody",
            ));
        };
        self.sender(header.envelope.as_ref())?;
        let journal = journal(&header.journal)?;
        let owner = self.ordinal(header.owner);
        let owner = owner.filter(|owner| *owner != self.peers.settings.own);
        let owner = owner.ok_or_else(|| {
            Status::invalid_argument("custody.owner: must be below 64 and another sampler")
        })?;
        let Some(custody) = &self.peers.custody else {
            return Err(Status::failed_precondition("this sampler keeps no files"));
        };
        let _turn = custody.turn.lock().await;
        if self.peers.phases.get() != Phase::Serving {
            return Err(Status::unavailable(
                "this sampler keeps no files at present",
            ));
        }
        let bytes = header.bytes;
        let has_room = custody
            .on_blocking_thread(move |it| it.reserve(bytes))
            .await;
        if !has_room.map_err(failed)? {
            return Err(Status::resource_exhausted(
                "this sampler has no room for the files",
            ));
        }
        let partial = custody.partial(owner);
        let receiving = transfer::receive(&mut messages, &header, &partial);
        // Other deposits wait for their turn, and the node of this sender may have failed.
        let received = timeout(DEPOSIT_GRACE, receiving)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the files arrive too slowly")));
        let received = received.and_then(|()| match is_awaited() {
            true => Ok(()),
            false => Err(Status::cancelled("the sender has stopped waiting")),
        });
        let complete = received.is_ok().then_some((journal, header.last_record));
        let ended = custody.on_blocking_thread(move |it| it.end_arrival(owner, complete));
        let ended = ended.await.map_err(failed);
        received.and(ended)
    }

    /// Sends a sampler its files.
    pub(super) async fn send_custody(
        &self,
        request: &WithdrawRequest,
    ) -> Result<BoxStream<CustodyMessage>, Status> {
        let owner = self.sender(request.envelope.as_ref())?;
        // A leaving sampler gives the files to another one.
        if self.peers.phases.get() == Phase::Leaving {
            return Err(leaving());
        }
        let found = match &self.peers.custody {
            Some(custody) => find(custody, owner).await.map_err(failed)?,
            None => None,
        };
        let Some((journal, last_record, files)) = found else {
            let start = self.peers.process.id();
            let absence = transfer::message(Message::Absence(Absence { start }));
            return Ok(Box::pin(tokio_stream::once(Ok::<_, Status>(absence))));
        };
        let header = wire::Custody {
            envelope: None,
            owner: u32::from(owner),
            journal: id(journal),
            last_record,
            bytes: transfer::size(&files),
        };
        Ok(Box::pin(
            transfer::messages(header, files).map(Ok::<_, Status>),
        ))
    }

    /// Ends the custody of files that a sampler has again.
    pub(super) async fn discard_custody(&self, request: &DiscardRequest) -> Result<(), Status> {
        let owner = self.sender(request.envelope.as_ref())?;
        let journal = journal(&request.journal)?;
        let last_record = request.last_record;
        if self.peers.phases.get() == Phase::Leaving {
            return Err(leaving());
        }
        let Some(custody) = &self.peers.custody else {
            return Ok(());
        };
        // The files may still be arriving.
        let turn = Arc::clone(&custody.turn).lock_owned().await;
        let discarded = custody.on_blocking_thread(move |it| {
            // Held to the end even if the sender cancels the call: otherwise it could deposit its
            // files meanwhile.
            let _turn = turn;
            it.discard(owner, journal, last_record)
        });
        discarded.await.map_err(failed)
    }
}

/// The latest custody for a sampler, and its files.
type Found = (JournalId, u64, Vec<transfer::OpenFile>);

async fn find(custody: &Arc<CustodyFolder>, owner: u16) -> io::Result<Option<Found>> {
    // The files may be arriving, or be removed for later ones. Those that are open are complete.
    let _turn = custody.turn.lock().await;
    custody
        .on_blocking_thread(move |custodies| {
            let Some(latest) = custodies.latest(owner)? else {
                return Ok(None);
            };
            let files = transfer::open(&latest.folder)?;
            Ok(Some((latest.journal, latest.last_record, files)))
        })
        .await
}

fn failed(error: io::Error) -> Status {
    Status::unavailable(format!("cannot read or write the files: {error}"))
}
