//! gRPC health and reflection beside a port's own services.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{
    Code, Status,
    body::Body,
    server::NamedService,
    service::{LayerExt, Routes},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder;
use tower::{Service, ServiceExt, layer::layer_fn, service_fn};

use crate::listen::Stop;

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// `Watch` and reflection streams at once. They last for as long as the client likes, with
/// nothing for it to do, so that a listener never closes one to make room.
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
    let open = Arc::new(Semaphore::new(MAX_OPEN_STREAMS));
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

/// Refuses streams while too many are open.
fn bounded<S: Calls>(service: S, open: &Arc<Semaphore>) -> impl Calls {
    let layer = layer_fn(|service: S| {
        let open = Arc::clone(open);
        service_fn(move |request: Request<Body>| {
            let (service, open) = (service.clone(), Arc::clone(&open));
            async move {
                // Probes must succeed even while streams take all places.
                if request.uri().path() == CHECK {
                    return service.oneshot(request).await;
                }
                // Taken before the service consumes the request.
                let stop = request.extensions().get().cloned();
                let Ok(place) = open.try_acquire_owned() else {
                    let message = "too many health and reflection streams; try again later";
                    return Ok(Status::resource_exhausted(message).into_http());
                };
                let response = service.oneshot(request).await?;
                Ok(response.map(|body| Body::new(Open::new(body, place, stop))))
            }
        })
    });
    layer.named_layer(service)
}

/// A stream until its last frame, or until the listener stops, which would otherwise wait for it.
struct Open {
    body: Body,
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    is_ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(body: Body, place: OwnedSemaphorePermit, stop: Option<Stop>) -> Self {
        Self {
            body,
            stopped: stop.map(|Stop(token)| Box::pin(token.cancelled_owned())),
            is_ended: false,
            _place: place,
        }
    }
}

impl http_body::Body for Open {
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
        let Some(stopped) = &mut self.stopped else {
            return Poll::Pending;
        };
        std::task::ready!(stopped.as_mut().poll(context));
        self.is_ended = true;
        // Unavailable is the status on which clients reconnect.
        let code = HeaderValue::from(Code::Unavailable as i32);
        let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, code)]);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
