//! Checks of a service's endpoints besides its own API: the ops port and, for gRPC, health and
//! reflection.

use std::net::SocketAddr;

use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// A gRPC connection without telemetry.
pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// Checks that the server as a whole and this service report `SERVING`.
pub async fn assert_healthy(address: SocketAddr, service: &str) {
    let mut client = HealthClient::new(channel(address).await);
    for service in ["", service] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let reply = client.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
}

/// Checks that reflection lists this service.
pub async fn assert_listed(address: SocketAddr, service: &str) {
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut replies = ServerReflectionClient::new(channel(address).await)
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let reply = replies.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}")
    };
    assert!(
        list.service.iter().any(|listed| listed.name == service),
        "{list:?}"
    );
}

/// Checks that a service's ops port reports it healthy and ready, and returns its metrics.
pub async fn metrics(ops: SocketAddr) -> String {
    for path in ["/healthz", "/readyz"] {
        let response = reqwest::get(format!("http://{ops}{path}")).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let metrics = reqwest::get(format!("http://{ops}/metrics")).await.unwrap();
    assert_eq!(metrics.status(), 200);
    metrics.text().await.unwrap()
}
