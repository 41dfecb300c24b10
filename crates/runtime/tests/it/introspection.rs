//! gRPC health and reflection.

use std::time::Duration;

use spoor_runtime::{Health, Limits, with_introspection};
use tokio_stream::StreamExt;
use tonic::{Code, Status, service::Routes, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse,
    server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

use crate::support::{DEADLINE, Running, listen_with};

/// The most health and reflection streams of a port at a time.
const MAX_OPEN_STREAMS: usize = 64;
const SERVICE: &str = "grpc.health.v1.Health";

/// A listener with health and reflection only.
async fn serve() -> (Running, Health, Channel) {
    let descriptors = tonic_health::pb::FILE_DESCRIPTOR_SET;
    let added = with_introspection(Routes::default(), &[SERVICE], descriptors).await;
    let (routes, health) = added.unwrap();
    let running = listen_with(routes.into_axum_router(), Limits::default(), DEADLINE);
    let channel = Channel::from_shared(running.url()).unwrap();
    (running, health, channel.connect().await.unwrap())
}

fn health_of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

async fn check(channel: &Channel, service: &str) -> Result<ServingStatus, Status> {
    let mut client = HealthClient::new(channel.clone());
    let reply = client.check(health_of(service)).await?;
    Ok(reply.into_inner().status())
}

#[tokio::test]
async fn health_is_known_from_the_first_request() {
    let (_running, health, channel) = serve().await;
    for service in [SERVICE, ""] {
        assert_eq!(
            check(&channel, service).await.unwrap(),
            ServingStatus::Serving
        );
    }
    let unknown = check(&channel, "a.Service").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    health.shut_down().await;
    for service in [SERVICE, ""] {
        assert_eq!(
            check(&channel, service).await.unwrap(),
            ServingStatus::NotServing
        );
    }
}

/// Lists the services by reflection.
async fn list(channel: Channel) -> Result<ServerReflectionResponse, Status> {
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut replies = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(list))
        .await?
        .into_inner();
    replies.next().await.unwrap()
}

#[tokio::test]
async fn reflection_lists_all_services() {
    let (_running, _, channel) = serve().await;
    let reply = list(channel).await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}")
    };
    let names: Vec<_> = list.service.iter().map(|it| it.name.as_str()).collect();
    for expected in [SERVICE, "grpc.reflection.v1.ServerReflection"] {
        assert!(names.contains(&expected), "{names:?}");
    }
}

/// Otherwise the listener would wait for the watch until its grace period ends.
#[tokio::test]
async fn open_watches_do_not_delay_the_shutdown() {
    let (running, health, channel) = serve().await;
    let watch = HealthClient::new(channel).watch(health_of("")).await;
    let mut watch = watch.unwrap().into_inner();
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::Serving);
    health.shut_down().await;
    running.stop.cancel();
    let last = watch.message().await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    let ended = watch.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(running.ended.await.unwrap(), Ok(()));
}

/// Nothing else closes such a stream, since it never waits for its client.
#[tokio::test]
async fn too_many_streams_end_the_oldest() {
    let (running, _, channel) = serve().await;
    let mut client = HealthClient::new(channel.clone());
    let mut open = Vec::new();
    for _ in 0..MAX_OPEN_STREAMS {
        open.push(client.watch(health_of("")).await.unwrap().into_inner());
    }
    // Probes do not count.
    assert_eq!(check(&channel, "").await.unwrap(), ServingStatus::Serving);

    let other = Channel::from_shared(running.url()).unwrap();
    let other = other.connect().await.unwrap();
    assert!(list(other).await.is_ok());
    let mut ended = open.remove(0);
    assert!(ended.message().await.unwrap().is_some());
    let end = tokio::time::timeout(DEADLINE, ended.message()).await;
    assert_eq!(end.unwrap().unwrap_err().code(), Code::Unavailable);
    for mut stays in open {
        assert!(stays.message().await.unwrap().is_some());
        let ended = tokio::time::timeout(Duration::ZERO, stays.message()).await;
        assert!(ended.is_err(), "a second one ended");
    }
}
