//! Serves the calls of peers.

mod custody;

use std::{sync::Arc, time::Duration};

use axum::Router;
use bytes::Bytes;
use spoor_proto::{
    DESCRIPTORS,
    spoor::sampler::v1::{
        self as wire, CustodyMessage, DepositResponse, DiscardRequest, DiscardResponse, Envelope,
        ExchangeRequest, ExchangeResponse, ForwardRequest, ForwardResponse, WithdrawRequest,
        peers_server,
    },
};
use spoor_runtime::{Health, ReflectionError, grpc_fallback, with_introspection};
use spoor_traces::{ForwardedPart, JournalId, Visited};
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    codegen::BoxStream,
    service::{Routes, interceptor::InterceptedService},
};

use super::{MAX_MESSAGE_BYTES, Peers};
use crate::{
    phase::Phase,
    rings::{AdoptError, to_wire},
};

/// The most calls with parts that are accepted at the same time, each on a blocking thread. They use
/// the same lock, so more would not be faster.
const MAX_CONCURRENT_CALLS: usize = 2;

/// The gRPC service `spoor.sampler.v1.Peers`, which requires the token, with gRPC health and
/// reflection, which do not.
///
/// # Errors
/// [`ReflectionError`] if the descriptors cannot be read.
pub(crate) async fn router(peers: Arc<Peers>) -> Result<(Router, Health), ReflectionError> {
    let token = peers.token.clone();
    let server = Server {
        peers,
        turns: Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS)),
    };
    let service = peers_server::PeersServer::new(server)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    // Before the message is read.
    let check = move |request: Request<()>| token.check(request);
    let routes = Routes::new(InterceptedService::new(service, check));
    let (routes, health) =
        with_introspection(routes, &[peers_server::SERVICE_NAME], DESCRIPTORS).await?;
    let served = "this port serves the calls between samplers";
    Ok((grpc_fallback(routes.into_axum_router(), served), health))
}

#[derive(Clone)]
struct Server {
    peers: Arc<Peers>,
    turns: Arc<Semaphore>,
}

#[tonic::async_trait]
impl peers_server::Peers for Server {
    async fn forward(
        &self,
        request: Request<ForwardRequest>,
    ) -> Result<Response<ForwardResponse>, Status> {
        let request = request.into_inner();
        let from = self.sender(request.envelope.as_ref())?;
        // Rings first: by older ones, the parts could be handed back to where they come from.
        self.adopt(request.rings.as_ref()).await?;
        self.check_phase()?;
        let journal = journal(&request.journal)?;
        let parts = request.parts.into_iter().map(part).collect();
        let accepted = self.accept(journal, parts).await?;
        let forwarder = &self.peers.forwarder;
        match accepted.refusal {
            Some(reason) => tracing::debug!(peer = from, reason, "no room for a peer's spans"),
            None => {
                // Before the stamp of the response, which the sender's next call is measured from.
                let stamped = self.peers.process.read(&request.last_stamp);
                let pending = Duration::from_millis(request.pending_millis);
                if let Some(until) = stamped.and_then(|stamped| stamped.checked_sub(pending)) {
                    forwarder.record_report(from, until);
                }
            }
        }
        Ok(Response::new(ForwardResponse {
            received: accepted.received,
            rings: self.rings(),
            saturated: forwarder.saturated(),
            stamp: self.peers.process.stamp(),
        }))
    }

    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let request = request.into_inner();
        self.sender(request.envelope.as_ref())?;
        self.adopt(request.rings.as_ref()).await?;
        let rings = self.rings();
        Ok(Response::new(ExchangeResponse { rings }))
    }

    type DepositStream = BoxStream<DepositResponse>;

    async fn deposit(
        &self,
        request: Request<Streaming<CustodyMessage>>,
    ) -> Result<Response<Self::DepositStream>, Status> {
        let server = self.clone();
        let (response, responses) = mpsc::channel(1);
        // A task of its own, which ends the deposit even if the sender cancels the call.
        tokio::spawn(async move {
            let is_awaited = || !response.is_closed();
            let received = server.receive_custody(request.into_inner(), is_awaited);
            let received = received.await;
            let received = received.map(|()| DepositResponse {});
            // The sender may have stopped waiting.
            let _ = response.send(received).await;
        });
        let responses: Self::DepositStream = Box::pin(ReceiverStream::new(responses));
        Ok(Response::new(responses))
    }

    type WithdrawStream = BoxStream<CustodyMessage>;

    async fn withdraw(
        &self,
        request: Request<WithdrawRequest>,
    ) -> Result<Response<Self::WithdrawStream>, Status> {
        let messages = self.send_custody(&request.into_inner()).await?;
        Ok(Response::new(messages))
    }

    async fn discard(
        &self,
        request: Request<DiscardRequest>,
    ) -> Result<Response<DiscardResponse>, Status> {
        self.discard_custody(&request.into_inner()).await?;
        Ok(Response::new(DiscardResponse {}))
    }
}

/// The outcome of accepting the parts of a call.
struct Accepted {
    /// The last sequence received.
    received: u64,
    /// The reason why not all parts were accepted.
    refusal: Option<String>,
}

impl Server {
    /// The ordinal of the sender, if the request is for this sampler. An address may have been
    /// assigned again: the sequences of parts for another sampler would hide those for this one.
    fn sender(&self, envelope: Option<&Envelope>) -> Result<u16, Status> {
        let envelope = envelope.cloned().unwrap_or_default();
        let settings = &self.peers.settings;
        let own = u32::from(settings.own);
        if envelope.stack != settings.stack || envelope.to != own || envelope.from == own {
            let stack = &settings.stack;
            let message = format!("this is sampler {own} of {stack}; resolve the name again");
            return Err(Status::failed_precondition(message));
        }
        let from = self.ordinal(envelope.from);
        from.ok_or_else(|| Status::invalid_argument("envelope.from: must be below 64"))
    }

    /// The ordinal of a sampler, if the number is a possible one.
    fn ordinal(&self, number: u32) -> Option<u16> {
        let samplers = self.peers.settings.addresses.len();
        let ordinal = u16::try_from(number).ok();
        ordinal.filter(|ordinal| usize::from(*ordinal) < samplers)
    }

    async fn adopt(&self, received: Option<&wire::Rings>) -> Result<(), Status> {
        if self.peers.phases.get() == Phase::Leaving {
            return Err(leaving());
        }
        let Some(received) = received else {
            return Ok(());
        };
        self.peers
            .adopt(received)
            .await
            .map_err(|error| match error {
                AdoptError::Invalid(_) | AdoptError::Ahead(_) => {
                    Status::invalid_argument(error.to_string())
                }
                AdoptError::Save(_) => Status::unavailable(error.to_string()),
            })
    }

    fn check_phase(&self) -> Result<(), Status> {
        match self.peers.phases.get() {
            Phase::Starting | Phase::Learning => {
                Err(Status::unavailable("this sampler does not know the rings"))
            }
            Phase::Serving | Phase::Draining => Ok(()),
            Phase::Leaving => Err(leaving()),
        }
    }

    fn rings(&self) -> Option<wire::Rings> {
        self.peers.forwarder.rings().as_ref().map(to_wire)
    }

    async fn accept(
        &self,
        journal: JournalId,
        parts: Vec<ForwardedPart>,
    ) -> Result<Accepted, Status> {
        let is_empty = parts.is_empty();
        let forwarder = self.peers.forwarder.clone();
        let accept = move || {
            let (received, accepted) = forwarder.accept_forwarded(journal, &parts);
            let refusal = accepted.err().map(|error| error.to_string());
            Accepted { received, refusal }
        };
        // As in nearly all calls. This takes no time, so it needs no blocking thread.
        if is_empty {
            return Ok(accept());
        }
        // If the sender stops waiting, the parts are accepted nevertheless. It sends them again, and
        // they are dropped by their sequences.
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| leaving())?;
        let accepting = spawn_blocking(move || {
            let accepted = accept();
            drop(turn);
            accepted
        });
        accepting
            .await
            .map_err(|error| Status::internal(error.to_string()))
    }
}

fn journal(id: &Bytes) -> Result<JournalId, Status> {
    let id = <[u8; 16]>::try_from(&id[..]);
    let id = id.map_err(|_| Status::invalid_argument("journal: must have 16 bytes"))?;
    Ok(JournalId::from_bytes(id))
}

fn part(part: wire::Part) -> ForwardedPart {
    ForwardedPart {
        sequence: part.sequence,
        visited: Visited {
            generation: part.visited_generation,
            members: part.visited,
        },
        age: Duration::from_millis(part.age_millis),
        request: part.request,
    }
}

fn leaving() -> Status {
    Status::unavailable("this sampler is shutting down")
}
