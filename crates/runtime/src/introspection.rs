//! gRPC health and reflection beside a port's own services.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{
    Code, Status,
    body::Body,
    server::NamedService,
    service::{LayerExt, Routes},
    transport::server::TcpConnectInfo,
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder;
use tower::{Service, ServiceExt, layer::layer_fn, service_fn};

use crate::listen::Stop;

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// `Watch` and reflection streams of a port at once. They last for as long as the client likes,
/// with nothing for it to do, so that a listener never closes one to make room.
const MAX_OPEN_STREAMS: usize = 64;
/// The one method that is answered at once.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The descriptors that reflection would show cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("gRPC reflection cannot be served")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// The health of a port's services, as the port reports it.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl Health {
    async fn set(&self, status: ServingStatus) {
        for service in &self.services {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Reports that all services have stopped serving.
    pub async fn shut_down(&self) {
        self.set(ServingStatus::NotServing).await;
    }
}

/// Adds health and reflection for services, by their full names; `descriptors` is an encoded
/// `FileDescriptorSet` that has them, and may have more. The services are healthy from the first
/// request on, until [`Health::shut_down`].
///
/// # Errors
/// [`ReflectionError`].
pub async fn with_introspection(
    routes: Routes,
    services: &[&'static str],
    descriptors: &[u8],
) -> Result<(Routes, Health), ReflectionError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health {
        reporter,
        // The empty name stands for the server.
        services: [""].iter().chain(services).copied().collect(),
    };
    // Set before the port opens, so that the first probe does not find the services unknown.
    health.set(ServingStatus::Serving).await;
    let mut reflection = Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for service in services.iter().chain(&[HEALTH, REFLECTION]) {
        reflection = reflection.with_service_name(*service);
    }
    let open = Arc::new(OpenStreams::default());
    let routes = routes
        .add_service(bounded(health_service, &open))
        .add_service(bounded(reflection.build_v1()?, &open));
    Ok((routes, health))
}

/// The bounds of `Routes::add_service`, which tonic's services meet.
trait Calls:
    NamedService
    + Clone
    + Send
    + Sync
    + 'static
    + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
{
}

impl<S> Calls for S where
    S: NamedService
        + Clone
        + Send
        + Sync
        + 'static
        + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
{
}

/// Bounds the streams that are open at once.
fn bounded<S: Calls>(service: S, open: &Arc<OpenStreams>) -> impl Calls {
    let layer = layer_fn(|service: S| {
        let open = Arc::clone(open);
        service_fn(move |request: Request<Body>| {
            let (service, open) = (service.clone(), Arc::clone(&open));
            async move {
                // Probes must not end a stream.
                if request.uri().path() == CHECK {
                    return service.oneshot(request).await;
                }
                // Read before the service consumes the request.
                let extensions = request.extensions();
                let stop = extensions.get().map(|Stop(stop)| stop.child_token());
                let client = extensions.get::<TcpConnectInfo>();
                let client = client.and_then(|info| Some(info.remote_addr?.ip()));
                let end = stop.unwrap_or_default();
                open.add(client, end.clone());
                // Cancels the token once the stream, or a call without one, has ended.
                let guard = end.clone().drop_guard();
                let response = service.oneshot(request).await?;
                Ok(response.map(|body| {
                    Body::new(OpenStream {
                        body,
                        ending: Box::pin(end.cancelled_owned()),
                        is_ended: false,
                        _guard: guard,
                    })
                }))
            }
        })
    });
    layer.named_layer(service)
}

/// The open streams, the oldest first: their clients, and what ends them.
#[derive(Default)]
struct OpenStreams(Mutex<Vec<(Option<IpAddr>, CancellationToken)>>);

impl OpenStreams {
    /// Adds a stream, and ends another one if there are too many: the oldest one of the client with
    /// the most. To refuse the new one would allow a client to keep all others out.
    fn add(&self, client: Option<IpAddr>, end: CancellationToken) {
        let mut open = self.0.lock();
        // Those that have ended: their guards cancelled the tokens.
        open.retain(|(_, end)| !end.is_cancelled());
        if open.len() >= MAX_OPEN_STREAMS {
            let count = |client| open.iter().filter(|(other, _)| *other == client).count();
            // Of equal ones the last is the maximum.
            let most = open.iter().rev().max_by_key(|(client, _)| count(*client));
            most.into_iter().for_each(|(_, end)| end.cancel());
        }
        open.push((client, end));
    }
}

/// A stream until its last frame, or until it has to end: to make room, or because the listener
/// stops, which would otherwise wait for it.
struct OpenStream {
    body: Body,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    is_ended: bool,
    _guard: DropGuard,
}

impl http_body::Body for OpenStream {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        // First what is still to be said, such as that the server no longer serves.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        std::task::ready!(self.ending.as_mut().poll(context));
        self.is_ended = true;
        // Unavailable is the status on which clients reconnect.
        let code = HeaderValue::from(Code::Unavailable as i32);
        let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, code)]);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
