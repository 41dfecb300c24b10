//! The four listeners of the role. The leader opens them once there is something to serve, and
//! they stay open until the role ends.

use std::time::Duration;

use axum::{Router, middleware};
use spoor_control::Control;
use spoor_runtime::{
    Api, Limits, Listener, ReflectionError, TlsAcceptor, bind, by_protocol, grpc_fallback, in_turn,
    with_hints, with_introspection,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use super::settings::PolicyEndpoints;
use crate::role::RoleError;

/// The most streams of instances and samplers at a time. Each client opens one connection for its
/// stream.
pub(super) const MAX_POLICY_STREAMS: usize = 20_000;
const MAX_STREAMS_PER_CONNECTION: u32 = 32;
/// The most connections of Collectors, which are few.
const MAX_COLLECTOR_CONNECTIONS: usize = 256;
/// The most bytes of the bodies that Collectors send at a time: 32 of the largest.
const MAX_COLLECTOR_BODY_BYTES: usize = 16 << 20;
/// The time that responses under way have to complete when the role ends.
const GRACE: Duration = Duration::from_secs(3);

/// Opens the listeners and sends their addresses to `opened`. They close at `stop`.
///
/// # Errors
/// A port cannot be bound, or the descriptors for gRPC reflection cannot be read.
pub(super) async fn start(
    control: &Control,
    listen: &PolicyEndpoints,
    tls: TlsAcceptor,
    tasks: &TaskTracker,
    stop: &CancellationToken,
    opened: watch::Sender<Option<PolicyEndpoints>>,
) -> Result<(), RoleError> {
    let http = bind(listen.http, "--listen-http")?;
    let grpc = bind(listen.grpc, "--listen-grpc")?;
    let stream = bind(listen.stream, "--listen-stream")?;
    let metrics = bind(listen.metrics, "--listen-metrics")?;
    // All ports are bound before the first one serves, so that a port in use fails the start,
    // before clients rely on any listener.
    let endpoints = PolicyEndpoints {
        http: http.local_addr()?,
        grpc: grpc.local_addr()?,
        stream: stream.local_addr()?,
        metrics: metrics.local_addr()?,
    };
    let sampling = with_hints(sampling(control).await?, |api| {
        hint(api, Api::JaegerSampling)
    });
    let streams = streams(control).await?;
    let reported = with_hints(control.metrics_http(), |api| hint(api, Api::OtlpMetrics));
    let listeners = [
        Listener::new(http, sampling.clone()),
        Listener::new(grpc, sampling),
        Listener::new(stream, streams).tls(tls).limits(Limits {
            max_connections: MAX_POLICY_STREAMS,
            // Above `max_streams`: the control plane chooses which stream ends for a new one.
            max_requests: MAX_POLICY_STREAMS + MAX_POLICY_STREAMS / 16,
            max_streams_per_connection: MAX_STREAMS_PER_CONNECTION,
            ..Limits::default()
        }),
        Listener::new(metrics, reported).limits(Limits {
            max_connections: MAX_COLLECTOR_CONNECTIONS,
            max_requests: MAX_COLLECTOR_CONNECTIONS,
            max_body_bytes: MAX_COLLECTOR_BODY_BYTES,
            ..Limits::default()
        }),
    ];
    for listener in listeners {
        let stop = stop.clone();
        tasks.spawn(async move {
            if let Err(cut_off) = listener.serve(GRACE, stop).await {
                tracing::debug!(%cut_off, "a listener closed before all responses were sent");
            }
        });
    }
    tracing::info!(?endpoints, "opened the listeners");
    // Readiness depends on this, and Services send clients to Ready pods only.
    opened.send_replace(Some(endpoints));
    Ok(())
}

/// Jaeger's remote sampling API in both protocols on one port: SDKs differ in which protocol they
/// support, and the settings for `envFrom` name one address.
async fn sampling(control: &Control) -> Result<Router, ReflectionError> {
    const SERVICE: &str = "jaeger.api_v2.SamplingManager";
    let routes = Routes::new(control.sampling_grpc());
    let (routes, _) = with_introspection(routes, &[SERVICE], spoor_proto::DESCRIPTORS).await?;
    let serves = "this port serves jaeger.api_v2.SamplingManager";
    let grpc = grpc_fallback(routes.into_axum_router(), serves);
    Ok(by_protocol(control.sampling_http(), grpc).layer(middleware::from_fn(in_turn)))
}

/// The hint for a client that requests a well-known path on a port that serves another API.
fn hint(api: Api, own: Api) -> Option<String> {
    let hint = match api {
        api if api == own => return None,
        Api::JaegerSampling => "remote sampling is on port 5778",
        Api::OtlpTraces | Api::Zipkin => {
            "send spans over OTLP to the Service STACK-otlp of a TracingStack, port 4317 or 4318"
        }
        Api::OtlpMetrics | Api::OtlpOthers => {
            "port 4318 accepts sampling counts from gathering Collectors; other metrics and logs \
             are not accepted"
        }
        Api::JaegerQuery => "traces are at the Service STACK-query of a TracingStack, port 16686",
    };
    Some(hint.to_owned())
}

/// The streams of Spoor's own clients: plans for services, and tail rules for samplers.
async fn streams(control: &Control) -> Result<Router, ReflectionError> {
    const SERVICES: [&str; 2] = [
        "spoor.control.v1.PolicyStream",
        "spoor.control.v1.TailRuleStream",
    ];
    let routes = Routes::new(control.policy_stream()).add_service(control.tail_rule_stream());
    let (routes, _) = with_introspection(routes, &SERVICES, spoor_proto::DESCRIPTORS).await?;
    let serves = "this port serves spoor.control.v1.PolicyStream and \
                  spoor.control.v1.TailRuleStream over TLS";
    Ok(grpc_fallback(routes.into_axum_router(), serves))
}
