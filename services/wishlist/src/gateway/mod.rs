//! gateway: the edge. A page for people and a JSON API for scripts, both on the wishlist.

mod api;
mod guard;
mod page;
mod problem;
mod traces;
mod view;
mod wishes;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, error_handling::HandleErrorLayer, extract::DefaultBodyLimit, middleware};
use http::{StatusCode, Uri};
use spoor_proto::spoor::wishlist::v1::wishlist_client::WishlistClient;
use spoor_telemetry::{
    Telemetry, grpc,
    serve::{self, ServeError},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceBuilder;

use crate::{GRACE, duration::parse_deadline};
use problem::Problem;
use wishes::Wishes;

pub use traces::{InvalidTracesUrl, TracesUrl};

/// The wishlist behind the layer that traces each call.
type Client = WishlistClient<grpc::Client<Channel>>;

/// To connect to the wishlist: on the same network it takes far less, or never comes.
const CONNECT: Duration = Duration::from_secs(1);

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
        default_value = "http://127.0.0.1:9002",
        value_parser = wishlist_url
    )]
    pub wishlist: Uri,
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

fn wishlist_url(text: &str) -> Result<Uri, String> {
    let url = text
        .parse::<Uri>()
        .ok()
        .filter(|url| url.authority().is_some());
    url.filter(|url| url.scheme_str() == Some("http"))
        .ok_or_else(|| "must be such as http://127.0.0.1:9002".to_owned())
}

/// Why the gateway doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port, or the serving itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The address of wishlist.
    #[error("--wishlist can't be used")]
    Wishlist(#[source] tonic::transport::Error),
}

/// The gateway with its ports taken.
#[derive(Debug)]
pub struct Edge {
    args: Args,
    listener: TcpListener,
    ops: TcpListener,
}

/// Runs the gateway until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    Edge::bind(args).await?.serve(&telemetry, shutdown).await
}

impl Edge {
    /// Takes its ports.
    ///
    /// # Errors
    /// [`RunError::Serve`] names the port that can't be had.
    pub async fn bind(args: Args) -> Result<Self, RunError> {
        let listener = serve::bind(args.listen, "--listen").await?;
        let ops = serve::bind(args.ops_listen, "--ops-listen").await?;
        Ok(Self {
            args,
            listener,
            ops,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where its metrics and health are.
    ///
    /// # Errors
    /// The operating system's.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until `shutdown`; what it accepted by then is answered.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn serve(
        self,
        telemetry: &Telemetry,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        let Args {
            wishlist,
            traces_url: traces,
            deadline,
            ..
        } = self.args;
        let wishes = Wishes {
            client: client(wishlist, telemetry)?,
            deadline,
        };
        let router = telemetry.http_server(Gateway { wishes, traces }.router(deadline));
        let serving = serve::http(self.listener, router, deadline + GRACE, shutdown.clone());
        Ok(serve::with_ops(serving, self.ops, telemetry, shutdown).await?)
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

/// One HTTP/2 connection, made at the first call and again whenever it is gone.
fn client(url: Uri, telemetry: &Telemetry) -> Result<Client, RunError> {
    let endpoint = Endpoint::new(url)
        .map_err(RunError::Wishlist)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    let traced = ServiceBuilder::new().layer(telemetry.grpc_client_layer().to(endpoint.uri()));
    Ok(WishlistClient::new(traced.service(endpoint.connect_lazy())))
}
