//! gateway: the edge. A page for people and a JSON API for scripts, both on the wishlist.

mod api;
mod guard;
mod page;
mod traces;
mod view;
mod wishes;

use std::{net::SocketAddr, time::Duration};

use axum::{Router, error_handling::HandleErrorLayer, extract::DefaultBodyLimit, middleware};
use http::StatusCode;
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_telemetry::{
    Telemetry,
    duration::parse_deadline,
    grpc::{Channel, PeerUrl},
    http::Problem,
    serve::{GRACE, Ports, ServeError},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use wishes::Wishes;

pub use traces::{InvalidTracesUrl, TracesUrl};

/// The wishlist behind the layer that traces each call.
type Client = WishlistClient<Channel>;

/// The longest body: a wish's name in its widest writing, and room to spare.
const MOST_BYTES: usize = 8 * 1024;

/// Requests in flight; more are refused at once.
const MOST_AT_ONCE: usize = 1024;

/// What can be set about the gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens for HTTP; port 0 takes any free one.
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081"
    )]
    pub listen: SocketAddr,
    /// Where it listens for /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9466"
    )]
    pub ops_listen: SocketAddr,
    /// Where wishlist is, such as http://127.0.0.1:9002; it may come later.
    #[arg(
        long,
        env = "SPOOR_WISHLIST_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9002"
    )]
    pub wishlist: PeerUrl,
    /// Where a trace is shown; {id} stands for its id.
    #[arg(
        long,
        env = "SPOOR_TRACES_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:16686/trace/{id}"
    )]
    pub traces_url: TracesUrl,
    /// How long a request may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = parse_deadline
    )]
    pub deadline: Duration,
}

/// The gateway with its ports taken.
#[derive(Debug)]
pub struct Edge {
    args: Args,
    /// Where it listens.
    pub ports: Ports,
}

/// Runs the gateway until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// A port that can't be had, or requests cut off in the end.
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    Edge::bind(args).await?.serve(&telemetry, shutdown).await
}

impl Edge {
    /// Takes its ports.
    ///
    /// # Errors
    /// [`ServeError::Bind`] names the port that can't be had.
    pub async fn bind(args: Args) -> Result<Self, ServeError> {
        let ports = Ports::take(args.listen, args.ops_listen).await?;
        Ok(Self { args, ports })
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// As [`Ports::serve_http`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Args {
            wishlist,
            traces_url: traces,
            deadline,
            ..
        } = self.args;
        let wishes = Wishes {
            client: WishlistClient::new(telemetry.grpc_channel(&wishlist)),
            deadline,
        };
        let router = Gateway { wishes, traces }.router(deadline);
        self.ports
            .serve_http(router, deadline + GRACE, telemetry, shutdown)
            .await
    }
}

/// What every request needs.
#[derive(Clone)]
struct Gateway {
    wishes: Wishes,
    traces: TracesUrl,
}

impl Gateway {
    fn router(self, deadline: Duration) -> Router {
        let limits = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_overload| {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once")
            }))
            .load_shed()
            .concurrency_limit(MOST_AT_ONCE);
        Router::new()
            .merge(page::router())
            .merge(api::router())
            .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is nothing here"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this takes other methods")
            })
            .layer(DefaultBodyLimit::max(MOST_BYTES))
            .layer(middleware::from_fn_with_state(deadline, guard::deadline))
            .layer(middleware::from_fn(guard::same_origin))
            .layer(limits)
            .layer(middleware::map_response(guard::security_headers))
            .with_state(self)
    }
}
