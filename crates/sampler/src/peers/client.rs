//! Calls the peers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use spoor_proto::spoor::sampler::v1::{
    ExchangeRequest, ForwardRequest, ForwardResponse, Part, peers_client::PeersClient,
};
use spoor_runtime::{Backoff, with_causes};
use spoor_telemetry::grpc::within;
use spoor_traces::{Forward, ForwardedPart};
use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{MAX_MESSAGE_BYTES, Peers, Token};
use crate::{
    phase::Phase,
    rings::{AdoptError, to_wire},
};

/// The interval of checks for peers to call, such as new members.
const PEER_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The deadline of a call, including the connection. The peer writes at most a few megabytes to its
/// journal.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(5);
/// The delays after calls that failed. The longest is about the time that a restart takes.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The interval and the timeout of HTTP/2 pings. A peer that vanished gets another address.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// The interval at which a peer that does not know the rings either is called again.
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(500);

/// A client of a peer, which sends the token with each call.
pub(super) type Client = PeersClient<InterceptedService<Channel, Token>>;

/// Calls each peer from a task of its own, until `stop`.
pub(super) async fn call_peers(peers: &Arc<Peers>, stop: &CancellationToken) {
    let mut calls: HashMap<u16, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        calls.retain(|_, call| !call.is_finished());
        for ordinal in peers.ordinals() {
            let Some(uri) = peers.settings.addresses.get(usize::from(ordinal)) else {
                continue;
            };
            calls.entry(ordinal).or_insert_with(|| {
                let caller = Caller::new(Arc::clone(peers), ordinal, endpoint(uri));
                AbortOnDropHandle::new(tokio::spawn(caller.run()))
            });
        }
        let waited = stop.run_until_cancelled(sleep(PEER_CHECK_INTERVAL)).await;
        if waited.is_none() {
            break;
        }
    }
    // Waits until they have ended: they use the forwarder, which has to close its journal.
    for call in calls.into_values() {
        call.abort();
        let _ = call.await;
    }
}

/// Calls one peer, one call at a time.
struct Caller {
    peers: Arc<Peers>,
    ordinal: u16,
    endpoint: Endpoint,
    client: Client,
    /// The stamp of the last response.
    last_stamp: Bytes,
    backoff: Backoff,
    /// True while calls fail. Only changes are logged.
    is_failing: bool,
    /// The peer knows that this sampler has its files, and keeps none for it.
    has_discarded: bool,
}

impl Caller {
    fn new(peers: Arc<Peers>, ordinal: u16, endpoint: Endpoint) -> Self {
        Self {
            client: client(&endpoint, &peers.token),
            has_discarded: peers.custody.is_none(),
            peers,
            ordinal,
            endpoint,
            last_stamp: Bytes::new(),
            backoff: Backoff::new(MIN_RETRY_DELAY),
            is_failing: false,
        }
    }

    /// Calls for as long as the peer is one to be called.
    async fn run(mut self) {
        while self.peers.ordinals().contains(&self.ordinal) {
            let called = if !self.peers.phases.get().has_learned() {
                self.request_rings().await
            } else if !self.has_discarded {
                self.discard().await
            } else {
                match self.peers.forwarder.next_forward(self.ordinal).await {
                    Some(forward) => self.forward(forward).await,
                    None => return,
                }
            };
            match called {
                Ok(()) => self.record_success(),
                Err(status) => self.wait_after(&status).await,
            }
        }
    }

    /// Requests the rings, and then waits if they do not end the phase.
    async fn request_rings(&self) -> Result<(), Status> {
        let request = ExchangeRequest {
            envelope: Some(self.peers.envelope(self.ordinal)),
            rings: None,
        };
        let exchange = async |request| self.client.clone().exchange(request).await;
        let response = within(CALL_DEADLINE, request, exchange).await?;
        if let Some(rings) = response.rings {
            self.peers.adopt(&rings).await.map_err(not_adopted)?;
        }
        // It goes on at once if the phase has ended. Either way the next step is the same.
        let learned = self.peers.phases.wait_for(Phase::has_learned);
        let _ = timeout(EXCHANGE_INTERVAL, learned).await;
        Ok(())
    }

    /// Ends the custody that the peer may have of the files of this sampler.
    async fn discard(&mut self) -> Result<(), Status> {
        self.peers.discard(&self.client, self.ordinal).await?;
        self.has_discarded = true;
        Ok(())
    }

    /// Sends parts, or only the age of those that are left.
    async fn forward(&mut self, forward: Forward) -> Result<(), Status> {
        let last = forward.parts.last().map(|part| part.sequence);
        let request = self.request(forward)?;
        let forward = async |request| self.client.clone().forward(request).await;
        let ForwardResponse {
            received,
            rings,
            saturated,
            stamp,
        } = within(CALL_DEADLINE, request, forward).await?;
        self.last_stamp = stamp;
        if let Some(rings) = rings {
            // If that fails, the parts are sent again, and the peer drops them.
            self.peers.adopt(&rings).await.map_err(not_adopted)?;
        }
        let forwarder = &self.peers.forwarder;
        forwarder.forwarded(self.ordinal, received, saturated);
        match last {
            Some(last) if received < last => {
                Err(Status::resource_exhausted("the peer has no room for spans"))
            }
            _ => Ok(()),
        }
    }

    fn request(&self, forward: Forward) -> Result<ForwardRequest, Status> {
        let forwarder = &self.peers.forwarder;
        let journal = forwarder.journal_id();
        let journal = journal.ok_or_else(|| Status::internal("there is no journal"))?;
        Ok(ForwardRequest {
            envelope: Some(self.peers.envelope(self.ordinal)),
            journal: Bytes::copy_from_slice(&journal.to_bytes()),
            rings: forwarder.rings().as_ref().map(to_wire),
            parts: forward.parts.into_iter().map(part).collect(),
            pending_millis: millis_rounded_up(forward.pending),
            last_stamp: self.last_stamp.clone(),
        })
    }

    fn record_success(&mut self) {
        self.backoff.reset();
        if self.is_failing {
            self.is_failing = false;
            tracing::info!(peer = self.ordinal, "calls to a peer succeed again");
        }
    }

    /// Records a failed call, and waits before the next one.
    async fn wait_after(&mut self, status: &Status) {
        // While it learns the rings, a peer may not exist.
        if self.peers.phases.get().has_learned() {
            self.peers.failures.inc();
            if !self.is_failing {
                self.is_failing = true;
                let reason = with_causes(status);
                tracing::warn!(peer = self.ordinal, reason, "cannot call a peer; retrying");
            }
        }
        // The address may now belong to another sampler, possibly of another stack, or to none. A
        // new connection resolves the name again.
        if matches!(
            status.code(),
            Code::FailedPrecondition | Code::Unauthenticated | Code::DeadlineExceeded
        ) {
            self.client = client(&self.endpoint, &self.peers.token);
        }
        sleep(self.backoff.next_delay(MAX_RETRY_DELAY)).await;
    }
}

/// A client of a peer, with a connection of its own.
pub(super) fn connect(peers: &Peers, ordinal: u16) -> Result<Client, Status> {
    let uri = peers.settings.addresses.get(usize::from(ordinal));
    let uri = uri.ok_or_else(|| Status::not_found("no sampler has this ordinal"))?;
    Ok(client(&endpoint(uri), &peers.token))
}

fn endpoint(uri: &Uri) -> Endpoint {
    Endpoint::from(uri.clone())
        .connect_timeout(CALL_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
}

fn client(endpoint: &Endpoint, token: &Token) -> Client {
    PeersClient::with_interceptor(endpoint.connect_lazy(), token.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

fn part(part: ForwardedPart) -> Part {
    Part {
        sequence: part.sequence,
        visited: part.visited.members,
        visited_generation: part.visited.generation,
        request: part.request,
        age_millis: millis_rounded_up(part.age),
    }
}

/// Rounds up, since zero means that nothing is pending, and a receiver that considers spans younger
/// than they are could decide too early.
fn millis_rounded_up(age: Duration) -> u64 {
    let millis = age.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}

fn not_adopted(error: AdoptError) -> Status {
    Status::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rounded_up() {
        assert_eq!(millis_rounded_up(Duration::ZERO), 0);
        assert_eq!(millis_rounded_up(Duration::from_nanos(1)), 1);
        assert_eq!(millis_rounded_up(Duration::from_millis(7)), 7);
        assert_eq!(millis_rounded_up(Duration::from_micros(7_001)), 8);
    }
}
