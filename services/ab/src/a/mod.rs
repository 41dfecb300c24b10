//! service-a: the edge. It takes requests over HTTP and lets service-b do the work.

mod edge;
mod problem;
mod query;

use std::{io, net::SocketAddr, time::Duration};

use http::Uri;
use spoor_proto::spoor::ab::v1::service_b_client::ServiceBClient;
use spoor_telemetry::{
    Telemetry, grpc,
    serve::{self, ServeError},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceBuilder;

use crate::{GRACE, duration};
use edge::Edge;

/// service-b behind the layer that traces each call.
type ServiceB = ServiceBClient<grpc::Client<Channel>>;

/// To connect to service-b: on the same network it takes far less, or never comes.
const CONNECT: Duration = Duration::from_secs(1);

/// What can be set about service-a.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where it listens for HTTP; port 0 takes any free one.
    #[arg(
        long,
        env = "SPOOR_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,
    /// Where it listens for /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "SPOOR_OPS_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9464"
    )]
    pub ops_listen: SocketAddr,
    /// Where service-b is, such as http://127.0.0.1:9001; it may come later.
    #[arg(
        long,
        env = "SPOOR_SERVICE_B_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:9001",
        value_parser = service_b_url
    )]
    pub service_b: Uri,
    /// How long a request may take, such as 5s, before it is given up.
    #[arg(
        long,
        env = "SPOOR_DEADLINE",
        value_name = "DURATION",
        default_value = "5s",
        value_parser = duration::parse_deadline
    )]
    pub deadline: Duration,
}

/// Why service-a doesn't run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port, or the serving itself.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The address of service-b.
    #[error("--service-b can't be used")]
    ServiceB(#[source] tonic::transport::Error),
}

/// service-a with its ports taken.
#[derive(Debug)]
pub struct ServiceA {
    args: Args,
    listener: TcpListener,
    ops: TcpListener,
}

/// Runs service-a until `shutdown`; what it accepted by then is answered.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    args: Args,
    telemetry: Telemetry,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    ServiceA::bind(args)
        .await?
        .serve(&telemetry, shutdown)
        .await
}

impl ServiceA {
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
            service_b,
            deadline,
            ..
        } = self.args;
        let edge = Edge {
            service_b: client(service_b, telemetry)?,
            deadline,
        };
        let router = telemetry.http_server(edge.router());
        let serving = serve::http(self.listener, router, deadline + GRACE, shutdown.clone());
        Ok(serve::with_ops(serving, self.ops, telemetry, shutdown).await?)
    }
}

/// One HTTP/2 connection, made at the first call and again whenever it is gone.
fn client(url: Uri, telemetry: &Telemetry) -> Result<ServiceB, RunError> {
    let endpoint = Endpoint::new(url)
        .map_err(RunError::ServiceB)?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    let traced = ServiceBuilder::new().layer(telemetry.grpc_client_layer().to(endpoint.uri()));
    Ok(ServiceBClient::new(traced.service(endpoint.connect_lazy())))
}

fn service_b_url(text: &str) -> Result<Uri, String> {
    let url = text
        .parse::<Uri>()
        .ok()
        .filter(|url| url.authority().is_some());
    url.filter(|url| url.scheme_str() == Some("http"))
        .ok_or_else(|| "must be such as http://127.0.0.1:9001".to_owned())
}
