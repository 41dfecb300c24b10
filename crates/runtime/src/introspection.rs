//! gRPC health and reflection, in addition to a port's own services.

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
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};
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

use crate::{listen::Stop, stream_slots::StreamSlots};

const HEALTH_SERVICE: &str = "grpc.health.v1.Health";
const REFLECTION_SERVICE: &str = "grpc.reflection.v1.ServerReflection";

/// The most `Watch` and reflection streams of a port that are open at a time. They may last for as
/// long as the client likes, and a listener never closes them to make room, since they wait for the
/// server.
const MAX_OPEN_STREAMS: usize = 64;
/// The path of the only method without a long-lived stream.
const HEALTH_CHECK_PATH: &str = "/grpc.health.v1.Health/Check";

/// The error for descriptors that gRPC reflection cannot read.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up gRPC reflection")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

/// The longest message to either service. Reflection repeats an unknown name in its status message,
/// where percent-encoding triples its length, and trailers do not count as an unread response.
const MAX_MESSAGE_BYTES: usize = 4 << 10;

/// The health that a port reports for its services.
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

/// Adds health and reflection for services, given by their full names. `descriptors` is an encoded
/// `FileDescriptorSet` with at least these services. All are healthy until [`Health::shut_down`].
///
/// # Errors
/// [`ReflectionError`] if the descriptors cannot be read.
pub async fn with_introspection(
    routes: Routes,
    services: &[&'static str],
    descriptors: &[u8],
) -> Result<(Routes, Health), ReflectionError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health_service = health_service.max_decoding_message_size(MAX_MESSAGE_BYTES);
    let health = Health {
        reporter,
        // The empty name stands for the server.
        services: [""].iter().chain(services).copied().collect(),
    };
    // Set before the port opens: until then, the response to a probe would be "not found".
    health.set(ServingStatus::Serving).await;
    let mut reflection = Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    for service in services.iter().chain(&[HEALTH_SERVICE, REFLECTION_SERVICE]) {
        reflection = reflection.with_service_name(*service);
    }
    // With a minimum excess of 0, no stream is refused: all clients of a node may have the same
    // address.
    let slots = Arc::new(StreamSlots::new(MAX_OPEN_STREAMS, 0));
    let reflection = reflection.build_v1()?;
    let reflection = reflection.max_decoding_message_size(MAX_MESSAGE_BYTES);
    let routes = add_bounded(routes, health_service, &slots);
    Ok((add_bounded(routes, reflection, &slots), health))
}

/// Adds a service whose streams count among the port's open ones.
fn add_bounded<S>(routes: Routes, service: S, slots: &Arc<StreamSlots<Option<IpAddr>>>) -> Routes
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
{
    let layer = layer_fn(|service: S| {
        let slots = Arc::clone(slots);
        service_fn(move |request: Request<Body>| {
            let (service, slots) = (service.clone(), Arc::clone(&slots));
            async move {
                // Health checks are not counted: probes must not end a stream.
                if request.uri().path() == HEALTH_CHECK_PATH {
                    return service.oneshot(request).await;
                }
                // Read before the service consumes the request.
                let extensions = request.extensions();
                let stop = extensions.get().map(|Stop(stop)| stop.child_token());
                let client = extensions.get::<TcpConnectInfo>();
                let client = client.and_then(|info| Some(info.remote_addr?.ip()));
                let end = stop.unwrap_or_default();
                slots.take(client, &end);
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
    routes.add_service(layer.named_layer(service))
}

/// A stream that the server can end: to make room for others, and when the listener stops, which
/// would otherwise wait for the client to end the stream.
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
        // Pending messages are sent first, such as the last one of a watch, `NOT_SERVING`.
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
