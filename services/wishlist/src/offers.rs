//! offers: searches marketplaces for the wishes.

mod breaker;
mod budget;
mod counts;
mod marketplace;
mod metrics;
mod peers;
mod retry;
mod service;
mod store;
mod validation;
mod watcher;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use spoor_proto::{
    DESCRIPTORS,
    spoor::{
        offers::v1::offers_server::OffersServer, wishlist::v1::wishlist_client::WishlistClient,
    },
};
use spoor_telemetry::{
    Telemetry,
    duration::{self, parse_deadline},
    grpc::PeerUrl,
    serve::{Grpc, MAX_SMALL_MESSAGE_BYTES, Program, ServeError, Server},
};
use tokio::sync::{Semaphore, mpsc};

use counts::SearchCounters;
use marketplace::{Marketplace, SearchLimits};
use metrics::StateCollector;
use service::{MAX_STREAMS, Service};
use store::OfferStore;
use watcher::Watcher;

pub use peers::{InvalidMarketplaces, Peers};
pub(crate) use store::MAX_OFFERS;

/// The most new wishes that wait for a search of their own. Further ones wait for a round.
const MAX_QUEUED_TASKS: usize = 256;

/// The settings of offers.
#[derive(clap::Args, Clone, Debug)]
pub struct OffersArgs {
    /// Address of wishlist, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_WISHLIST_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9002"
    )]
    pub wishlist: PeerUrl,
    /// Names and addresses of the marketplaces, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_MARKETPLACES",
        value_name = "NAME=URL,…",
        default_value = "attic=http://127.0.0.1:9004,bazaar=http://127.0.0.1:9005,\
            corner=http://127.0.0.1:9006"
    )]
    pub marketplaces: Peers,
    /// Interval between rounds of searches, each for up to 20 wishes, such as 30s
    #[arg(
        long,
        env = "SPOOR_OFFERS_EVERY",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = parse_interval
    )]
    pub every: Duration,
    /// Maximum time to search one marketplace for one wish, including retries and waits, such as 4s
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "4s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

impl Program for OffersArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        // The background tasks also stop if serving fails.
        let stop = server.shutdown.child_token();
        let store = Arc::new(OfferStore::new());
        let marketplaces = self.marketplaces(&server.telemetry);
        let state_collector = StateCollector {
            marketplaces: Arc::clone(&marketplaces),
            store: Arc::clone(&store),
        };
        let metrics = server.telemetry.metrics();
        metrics.register(|registry| registry.register_collector(Box::new(state_collector)));
        let (tasks, queue) = mpsc::channel(MAX_QUEUED_TASKS);
        let watcher = Watcher {
            wishlist: WishlistClient::new(server.telemetry.grpc_channel(&self.wishlist)),
            marketplaces,
            store: Arc::clone(&store),
            limits: SearchLimits {
                deadline: self.deadline,
                stop: stop.clone(),
            },
        };
        let service = OffersServer::new(Service {
            store,
            tasks,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: stop.clone(),
        });
        let service = service.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES);
        let watching = async {
            tokio::join!(watcher.run_tasks(queue), watcher.run_rounds(self.every));
        };
        let serving = async {
            let _stop = stop.drop_guard();
            server.serve_grpc(Grpc::new(service, DESCRIPTORS)).await
        };
        let ((), served) = tokio::join!(watching, serving);
        served
    }
}

impl OffersArgs {
    fn marketplaces(&self, telemetry: &Telemetry) -> Arc<[Marketplace]> {
        let counts = SearchCounters::default();
        let metrics = telemetry.metrics();
        metrics.register(|registry| counts.register(registry));
        let peers = self.marketplaces.0.iter().cloned();
        peers
            .map(|peer| Marketplace::new(peer, telemetry, counts.clone()))
            .collect()
    }
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    const INTERVALS: RangeInclusive<Duration> =
        Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);
    duration::parse(text)
        .ok()
        .filter(|every| INTERVALS.contains(every))
        .ok_or_else(|| format!("must be from 100ms to 1d, such as 30s, not {text:?}"))
}
