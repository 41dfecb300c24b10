//! gRPC health and reflection beside a port's own services.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tonic::{
    Status,
    body::Body,
    server::NamedService,
    service::{LayerExt, Routes},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder;
use tower::{Service, ServiceExt, layer::layer_fn, service_fn};

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

/// What a port says about the health of its services.
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

    /// Says that nothing here serves any longer.
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

/// What `Routes` takes, and what a service of tonic's is.
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
                if request.uri().path() == CHECK {
                    return service.oneshot(request).await;
                }
                let Ok(place) = open.try_acquire_owned() else {
                    let message = "too many health and reflection streams; try again later";
                    return Ok(Status::resource_exhausted(message).into_http());
                };
                let response = service.oneshot(request).await?;
                // The place is the stream's until its last frame.
                Ok(response.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        let _ = &place;
                        frame
                    }))
                }))
            }
        })
    });
    layer.named_layer(service)
}
