//! The four doors: open once there is something to serve, until the role ends.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use spoor_control::Control;
use spoor_runtime::{
    Api, Limits, Listener, ReflectionError, bind, by_protocol, grpc_fallback, with_hints,
    with_introspection,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::{Error, settings::Listen};

/// Streams at once, each a connection; a client of a stream opens one.
const MAX_STREAMS: usize = 20_000;
const MAX_STREAMS_PER_CONNECTION: u32 = 32;
/// Collectors are few.
const MAX_COLLECTORS: usize = 256;
/// Answers in flight at the end have this long.
pub(super) const GRACE: Duration = Duration::from_secs(3);

/// Where the doors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Jaeger's remote sampling over HTTP.
    pub http: SocketAddr,
    /// Jaeger's remote sampling over gRPC.
    pub grpc: SocketAddr,
    /// Spoor's own stream, over TLS.
    pub stream: SocketAddr,
    /// OTLP metrics over HTTP, from Collectors.
    pub metrics: SocketAddr,
}

/// Opens the doors; they close at `stop`.
///
/// # Errors
/// The port that can't be had, or descriptors that reflection can't show.
pub(super) async fn open(
    control: &Control,
    listen: &Listen,
    tls: TlsAcceptor,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Doors, Error> {
    let http = bind(listen.http, "--listen-http")?;
    let grpc = bind(listen.grpc, "--listen-grpc")?;
    let stream = bind(listen.stream, "--listen-stream")?;
    let metrics = bind(listen.metrics, "--listen-metrics")?;
    let doors = Doors {
        http: http.local_addr()?,
        grpc: grpc.local_addr()?,
        stream: stream.local_addr()?,
        metrics: metrics.local_addr()?,
    };
    let sampling = with_hints(sampling(control).await?, |api| {
        hint(api, &[Api::JaegerSampling])
    });
    let reported = with_hints(control.metrics_http(), |api| hint(api, &[Api::OtlpMetrics]));
    let listeners = [
        Listener::new(http, sampling.clone()),
        Listener::new(grpc, sampling),
        Listener::new(stream, policy_stream(control))
            .tls(tls)
            .limits(Limits {
                max_connections: MAX_STREAMS,
                max_requests: MAX_STREAMS,
                max_streams_per_connection: MAX_STREAMS_PER_CONNECTION,
                ..Limits::default()
            }),
        Listener::new(metrics, reported).limits(Limits {
            max_connections: MAX_COLLECTORS,
            max_requests: MAX_COLLECTORS,
            ..Limits::default()
        }),
    ];
    for listener in listeners {
        let stop = stop.clone();
        tasks.spawn(async move {
            if let Err(cut_off) = listener.serve(GRACE, stop).await {
                tracing::debug!(%cut_off, "a listener ended");
            }
        });
    }
    tracing::info!(?doors, "open");
    Ok(doors)
}

/// Jaeger's remote sampling in both protocols: SDKs differ in which they speak, and the settings
/// for `envFrom` name one address.
async fn sampling(control: &Control) -> Result<Router, ReflectionError> {
    const SERVICE: &str = "jaeger.api_v2.SamplingManager";
    let routes = Routes::new(control.sampling_grpc());
    let (routes, _) = with_introspection(routes, &[SERVICE], spoor_proto::DESCRIPTORS).await?;
    let grpc = grpc_fallback(
        routes.into_axum_router(),
        "this port has jaeger.api_v2.SamplingManager",
    );
    Ok(by_protocol(control.sampling_http(), grpc))
}

/// Names the port of a well-known path that a client looked for at a port with other APIs.
fn hint(api: Api, own: &[Api]) -> Option<String> {
    let hint = match api {
        api if own.contains(&api) => return None,
        Api::JaegerSampling => "remote sampling is on port 5778",
        Api::OtlpTraces | Api::Zipkin => {
            "send spans as OTLP to the Service STACK-otlp of a TracingStack, ports 4317 and 4318"
        }
        Api::OtlpMetrics | Api::OtlpOthers => {
            "metrics and logs are not received; port 4318 takes the counts that Collectors send"
        }
        Api::JaegerQuery => "traces are at the Service STACK-query of a TracingStack, port 16686",
    };
    Some(hint.to_owned())
}

fn policy_stream(control: &Control) -> Router {
    let serves = "this port has spoor.control.v1.PolicyStream over TLS";
    grpc_fallback(
        Routes::new(control.policy_stream()).into_axum_router(),
        serves,
    )
}
