//! The other samplers of the stack.
//!
//! Each trace has an owner among them, by the rings in force (`spoor_traces::Rings`). A sampler
//! that gets spans for another one keeps them in its journal until that one has them in its own.
//! For that it calls each peer ([`client`]), several times a second even without spans: an owner
//! decides once its peers have nothing left for it. Each sampler serves these calls ([`server`]).
//!
//! A sampler learns rings from the control plane and from its peers, in both directions of a call.
//! At its start it knows those in its file, but not whether they are still active, and learns that
//! before it serves. Ordinal 0 is the exception: it is a member of all rings, and none of its former
//! ones ends without its report, so its file is recent enough.
//!
//! If its folder is deleted with its pod, a sampler that leaves gives its files to a peer. The next
//! one with the same ordinal has no journal. Once it knows the rings, and so all samplers that may
//! have these files, it gets them back ([`custody`]), and only then puts the rings in force.

mod client;
mod custody;
mod server;
mod stamp;
mod token;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use spoor_proto::spoor::sampler::v1 as wire;
use spoor_traces::{Forwarder, Rings};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    PeersSettings,
    custody::CustodyFolder,
    grace::FORWARD_GRACE,
    phase::{Phase, Phases},
    rings::{self, AdoptError, RingsFile},
};
pub(crate) use custody::Deposits;
pub(crate) use server::router;
use stamp::Process;
pub use token::PeersTokenError;
pub(crate) use token::Token;

/// The longest request or response: 4 MiB of parts, or a single longer one.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// The time for which ordinal 0 without a file waits for rings. A control plane that starts at the
/// same time is connected much sooner.
const MAX_LEARNING_TIME: Duration = Duration::from_secs(60);
/// The interval of checks for spans that are left at a shutdown.
const FORWARD_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The state that a sampler shares between its server and its clients.
#[derive(Debug)]
pub(crate) struct Peers {
    settings: PeersSettings,
    /// The token of all calls, in both directions.
    pub(crate) token: Token,
    forwarder: Forwarder,
    file: RingsFile,
    /// The rings of the file at the start.
    saved: Option<Rings>,
    phases: Phases,
    process: Process,
    /// The custodies for other samplers, if this one has no volume claim.
    pub(crate) custody: Option<Arc<CustodyFolder>>,
    delay: watch::Sender<Delay>,
    /// The calls to peers that failed, and are repeated. Those that request the first rings do not
    /// count, since a peer may not exist.
    pub(crate) failures: Counter,
}

/// Delays rings until the journal is open.
#[derive(Debug)]
struct Delay {
    is_over: bool,
    /// The newest rings.
    rings: Option<Rings>,
}

impl Peers {
    /// `saved` are the rings that the file has. The journal is opened by [`Peers::restore`] if
    /// `is_journal_open` is false.
    pub(crate) fn new(
        (settings, token): (PeersSettings, Token),
        forwarder: Forwarder,
        (file, saved): (RingsFile, Option<Rings>),
        phases: Phases,
        (custody, is_journal_open): (Option<Arc<CustodyFolder>>, bool),
    ) -> Self {
        let delay = Delay {
            is_over: is_journal_open,
            rings: saved.clone().filter(|_| settings.own == 0),
        };
        Self {
            settings,
            token,
            forwarder,
            file,
            saved,
            phases,
            process: Process::start(),
            custody,
            delay: watch::Sender::new(delay),
            failures: Counter::default(),
        }
    }

    /// The address on which to listen for calls.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.settings.listen
    }

    /// Enters the phase that the rings in force lead to.
    pub(crate) fn update_phase(&self) {
        let own = self.settings.own;
        self.phases.enter(|| match self.forwarder.rings() {
            None => Phase::Learning,
            Some(rings) if rings.has_member(own) => Phase::Serving,
            Some(_) => Phase::Draining,
        });
    }

    /// Puts rings of the control plane or of a peer in force if they are newer.
    pub(crate) async fn adopt(&self, received: &wire::Rings) -> Result<(), AdoptError> {
        self.put_in_force(rings::read(received)?).await
    }

    async fn put_in_force(&self, received: Rings) -> Result<(), AdoptError> {
        if self.keep_for_later(&received) {
            return Ok(());
        }
        self.file.adopt(received, &self.forwarder).await?;
        self.update_phase();
        Ok(())
    }

    /// Keeps rings for later while the journal is not open; returns whether it did.
    fn keep_for_later(&self, received: &Rings) -> bool {
        let mut is_delayed = false;
        self.delay.send_if_modified(|delay| {
            is_delayed = !delay.is_over;
            let is_older = |rings: &Rings| rings.generation() < received.generation();
            let is_new = is_delayed && delay.rings.as_ref().is_none_or(is_older);
            if is_new {
                delay.rings = Some(received.clone());
            }
            is_new
        });
        is_delayed
    }

    /// Calls the peers until `stop`.
    pub(crate) async fn call_all(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            stop.run_until_cancelled(self.begin_alone()),
            stop.run_until_cancelled(self.token.follow_file()),
            client::call_peers(&self, &stop),
        );
    }

    /// Puts a ring of one member in force if this is ordinal 0 and learns of no rings in time.
    /// A stack begins with that ring.
    async fn begin_alone(&self) {
        if self.settings.own != 0 || self.saved.is_some() {
            return;
        }
        let learned = self.phases.wait_for(Phase::has_learned);
        let has_learned = timeout(MAX_LEARNING_TIME, learned).await.is_ok();
        if has_learned || self.delay.borrow().rings.is_some() {
            return;
        }
        let Ok(rings) = Rings::new(0, &[1]) else {
            return;
        };
        tracing::warn!("neither the control plane nor a peer has sent rings; starting alone");
        if let Err(error) = self.put_in_force(rings).await {
            tracing::error!(%error, "cannot start alone");
        }
    }

    /// The ordinals of the peers that it calls: all members, and those for which spans are left.
    fn ordinals(&self) -> Vec<u16> {
        let delayed = || self.delay.borrow().rings.clone();
        let members = match self.forwarder.rings().or_else(delayed) {
            Some(rings) => rings.max_members(),
            // All samplers with smaller ordinals exist, and if there are others, the next one.
            None => {
                let saved = self.saved.as_ref().map_or(0, Rings::max_members);
                saved.max(self.settings.own.saturating_add(2))
            }
        };
        let pending = self.forwarder.forward_pending().into_iter();
        let pending = pending.filter(|(peer, bytes)| *peer >= members && *bytes > 0);
        let ordinals = (0..members).chain(pending.map(|(peer, _)| peer));
        ordinals
            .filter(|ordinal| *ordinal != self.settings.own)
            .collect()
    }

    /// Returns whether spans wait for a peer.
    pub(crate) fn has_pending(&self) -> bool {
        let pending = self.forwarder.forward_pending();
        pending.iter().any(|(_, bytes)| *bytes > 0)
    }

    /// Waits until the peers have all of their spans, or the grace period ends.
    pub(crate) async fn finish_forwarding(&self) {
        let forwarding = async {
            while self.has_pending() {
                sleep(FORWARD_CHECK_INTERVAL).await;
            }
        };
        if timeout(FORWARD_GRACE, forwarding).await.is_err() {
            tracing::warn!("spans for other samplers are left, since these did not take them");
        }
    }
}
