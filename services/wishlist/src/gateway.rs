//! gateway: an edge that serves the wishlist's web page and JSON API, the traces at `/jaeger`, and
//! the architecture at `/docs`.

mod api;
mod docs;
mod jaeger;
mod offers;
mod page;
mod traces;
mod updates;
mod view;
mod wishes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_telemetry::{
    duration::parse_deadline,
    grpc::{Channel, PeerUrl},
    http::{Bounds, ConnectionTurn, ListBudget, ListBudgetSpent, Peer, bounded, guarded},
    serve::{GRACE, Program, ServeError, Server},
};
use tokio::sync::OwnedSemaphorePermit;

use jaeger::Jaeger;
use offers::Offers;
use updates::Updates;
use wishes::{Wish, WishError, Wishes};

use crate::{WishName, wishlist::MAX_WISHES};

pub use traces::{InvalidTraceUrl, TraceUrl};

/// A client of wishlist that traces each call.
type Client = WishlistClient<Channel>;

/// The largest request body accepted. The longest name, with every character escaped, needs about
/// 2.4 kB.
const MAX_BODY_BYTES: usize = 8 * 1024;

/// Allows resources from this host only.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// The time that a request may need besides its calls to wishlist: for offers, or for the mesh in
/// `/docs`.
const EXTRA_TIME: Duration = Duration::from_secs(3);

/// The most wishes and offers in the lists that are being built: 16 lists of the maximum length, or
/// about 150 MB, since an entry takes up to 3 kB as a message and in HTML.
const MAX_LISTED_AT_ONCE: u16 = 48_000;

/// The settings of gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct GatewayArgs {
    /// Address of wishlist, which need not be running yet
    #[arg(
        long,
        env = "SPOOR_WISHLIST_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9002"
    )]
    pub wishlist: PeerUrl,
    /// Address of offers, which need not be running
    #[arg(
        long,
        env = "SPOOR_OFFERS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9003"
    )]
    pub offers: PeerUrl,
    /// Address of Jaeger or of a lab's trace page, to show at /jaeger, including its base path
    #[arg(
        long,
        env = "SPOOR_JAEGER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:16686"
    )]
    pub jaeger: PeerUrl,
    /// URL at which a browser finds a trace, with {id} for its ID
    #[arg(
        long,
        env = "SPOOR_TRACE_URL",
        value_name = "URL",
        default_value = "/jaeger/trace/{id}"
    )]
    pub trace_url: TraceUrl,
    /// Maximum time for a call to wishlist, offers or Jaeger, such as 5s
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

impl Program for GatewayArgs {
    type Error = ServeError;

    async fn serve(self, server: Server) -> Result<(), ServeError> {
        let deadline = self.deadline;
        let wishes = Wishes {
            client: WishlistClient::new(server.telemetry.grpc_channel(&self.wishlist)),
            deadline,
            last_len: Arc::new(AtomicU32::new(MAX_WISHES.into())),
        };
        let peer = server.telemetry.http_peer(&self.jaeger, deadline);
        let jaeger = Jaeger::new(peer.clone(), &self.jaeger);
        let offers = Offers::new(server.telemetry.grpc_channel(&self.offers), deadline);
        // The task that follows offers also stops if serving fails.
        let stop = server.shutdown.child_token();
        let updates = Updates::new(offers.clone(), stop.clone());
        let gateway = Gateway {
            wishes,
            offers,
            updates: updates.clone(),
            trace_url: self.trace_url,
            lists: ListBudget::new(MAX_LISTED_AT_ONCE),
        };
        // A change, then the list, each within the deadline, and the extra time. If a request were cut
        // off before its calls ended, a wish that was added could be reported as failed.
        let longest = 2 * deadline + EXTRA_TIME;
        // Merged last, since the proxy has bounds and a security policy of its own.
        let router = gateway.router(longest, peer).merge(jaeger.router());
        let serving = async {
            let _stop = stop.drop_guard();
            server.serve_http(router, longest + GRACE).await
        };
        let ((), served) = tokio::join!(updates.follow(), serving);
        served
    }
}

/// The state of the handlers.
#[derive(Clone)]
struct Gateway {
    wishes: Wishes,
    offers: Offers,
    updates: Updates,
    trace_url: TraceUrl,
    lists: ListBudget,
}

impl Gateway {
    /// Reserves memory for the wishes and offers of one response.
    async fn reserve(
        &self,
        connection: &ConnectionTurn,
    ) -> Result<OwnedSemaphorePermit, ListBudgetSpent> {
        // The numbers of the last replies, since the next ones are known only when they are in
        // memory. With the largest possible numbers, few requests could wait for a slow wishlist.
        let [wishes, offers] = [&self.wishes.last_len, &self.offers.last_len];
        let entries = wishes.load(Relaxed).saturating_add(offers.load(Relaxed));
        self.lists.reserve(connection, entries).await
    }

    /// Adds a wish and starts a search for offers.
    async fn add_wish(&self, name: &WishName) -> Result<Wish, WishError> {
        let wish = self.wishes.clone().add(name).await?;
        self.offers.start_search(&wish).await;
        Ok(wish)
    }

    /// Deletes a wish and its offers.
    async fn delete_wish(&self, id: &str) -> Result<(), WishError> {
        self.wishes.clone().delete(id).await?;
        self.offers.forget(id).await;
        Ok(())
    }

    fn router(self, longest: Duration, jaeger: Peer) -> Router {
        let routes = Router::new()
            .merge(page::router())
            .merge(api::router())
            .merge(docs::router(jaeger))
            .with_state(self);
        let bounds = Bounds {
            max_body_bytes: MAX_BODY_BYTES,
            deadline: longest,
        };
        guarded(bounded(routes, bounds), CONTENT_SECURITY_POLICY)
    }
}
