//! gateway: the edge, one host for all. A page for people and a JSON API for scripts, both on the
//! wishlist; the traces at `/jaeger`; how it is built at `/docs`.

mod api;
mod arrivals;
mod docs;
mod jaeger;
mod offers;
mod page;
mod traces;
mod view;
mod wishes;

use std::time::Duration;

use axum::Router;
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    grpc::{Channel, PeerUrl},
    http::{Bounds, Peer, bounded, guarded},
    serve::{GRACE, Listen, Ports, Program, ServeError},
};
use tokio_util::sync::CancellationToken;

use arrivals::Arrivals;
use jaeger::Jaeger;
use offers::Offers;
use wishes::{Failure, Wish, Wishes};

use crate::WishName;

pub use traces::{InvalidTraceUrl, TraceUrl};

/// The wishlist behind the layer that traces each call.
type Client = WishlistClient<Channel>;

/// The longest body: a wish's name in its widest writing, and room to spare.
const MOST_BYTES: usize = 8 * 1024;

/// Everything from this host, nothing from elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
    connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// What a request may need besides its calls to the wishlist: offers, or the mesh for `/docs`.
const BESIDES: Duration = Duration::from_secs(3);

/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 1024;

/// What can be set about the gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens.
    #[command(flatten)]
    pub listen: Listen,
    /// Where wishlist is, such as http://127.0.0.1:9002; it may come later.
    #[arg(
        long,
        env = "SPOOR_WISHLIST_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9002"
    )]
    pub wishlist: PeerUrl,
    /// Where offers is, such as http://127.0.0.1:9003; it may come later, or not at all.
    #[arg(
        long,
        env = "SPOOR_OFFERS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9003"
    )]
    pub offers: PeerUrl,
    /// Where Jaeger or a lab's trace page is, which is shown at /jaeger; its base path too, if it
    /// has one.
    #[arg(
        long,
        env = "SPOOR_JAEGER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:16686"
    )]
    pub jaeger: PeerUrl,
    /// Where a browser finds a trace; {id} stands for its id.
    #[arg(
        long,
        env = "SPOOR_TRACE_URL",
        value_name = "URL",
        default_value = "/jaeger/trace/{id}"
    )]
    pub trace_url: TraceUrl,
    /// How long a call to the wishlist or to Jaeger may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

impl Program for Args {
    type Error = ServeError;

    fn listen(&mut self) -> &mut Listen {
        &mut self.listen
    }

    async fn serve(
        self,
        ports: Ports,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Args {
            wishlist,
            offers,
            jaeger,
            trace_url,
            deadline,
            ..
        } = self;
        let wishes = Wishes {
            client: WishlistClient::new(telemetry.grpc_channel(&wishlist)),
            deadline,
        };
        let peer = telemetry.http_peer(&jaeger, deadline);
        let jaeger = Jaeger::new(peer.clone(), &jaeger);
        let offers = Offers::new(telemetry.grpc_channel(&offers), deadline);
        // Whatever ends the serving ends the following.
        let stop = shutdown.child_token();
        let arrivals = Arrivals::new(offers.clone(), stop.clone());
        let gateway = Gateway {
            wishes,
            offers,
            arrivals: arrivals.clone(),
            trace_url,
        };
        let longest = longest_request(deadline);
        let router = gateway.router(longest, peer).merge(jaeger.router());
        let serving = async {
            let served = ports.serve_http(router, longest + GRACE, telemetry, shutdown);
            let served = served.await;
            stop.cancel();
            served
        };
        let ((), served) = tokio::join!(arrivals.follow(), serving);
        served
    }
}

/// Longer than all that a request waits for: cut off earlier, a wish that was made would be
/// answered as one that wasn't. A change that came too late takes a second call, for the page.
fn longest_request(deadline: Duration) -> Duration {
    2 * deadline + BESIDES
}

/// What every request needs.
#[derive(Clone)]
struct Gateway {
    wishes: Wishes,
    offers: Offers,
    arrivals: Arrivals,
    trace_url: TraceUrl,
}

impl Gateway {
    /// Makes a wish and has it looked for.
    async fn wish(&self, name: &WishName) -> Result<Wish, Failure> {
        let wish = self.wishes.clone().add(name).await?;
        self.offers.look_for(&wish).await;
        Ok(wish)
    }

    /// Deletes a wish and lets its offers go.
    async fn unwish(&self, id: &str) -> Result<(), Failure> {
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
            at_once: MOST_AT_ONCE,
            body_bytes: MOST_BYTES,
            deadline: longest,
        };
        guarded(bounded(routes, bounds), CONTENT_SECURITY_POLICY)
    }
}
