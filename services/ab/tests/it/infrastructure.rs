use tokio_stream::StreamExt;
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::pair::{get, json, service_a, service_b};

async fn channel(address: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

#[rstest::rstest]
#[case("")]
#[case("spoor.ab.v1.ServiceB")]
#[tokio::test(flavor = "multi_thread")]
async fn service_b_is_healthy(#[case] service: &str) {
    let b = service_b(&[]).await;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let reply = HealthClient::new(channel(b.address).await)
        .check(request)
        .await
        .unwrap();
    assert_eq!(
        reply.into_inner().status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn service_b_says_what_it_offers() {
    let b = service_b(&[]).await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(b.address).await);
    let mut replies = client
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let reply = replies.next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else {
        panic!("{reply:?}")
    };
    assert!(
        list.service
            .iter()
            .any(|service| service.name == "spoor.ab.v1.ServiceB")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_have_an_operators_port() {
    let b = service_b(&[]).await;
    let a = service_a(b.address, &[]).await;
    json(get(a.address, "/?wait=0ms&calc=0").await).await;
    for (ops, metric) in [
        (a.ops, "http_server_request_duration_seconds"),
        (b.ops, "rpc_server_call_duration_seconds"),
    ] {
        assert_eq!(get(ops, "/healthz").await.status(), 200);
        assert_eq!(get(ops, "/readyz").await.status(), 200);
        let metrics = get(ops, "/metrics").await.text().await.unwrap();
        assert!(metrics.contains(metric), "{metrics}");
    }
}
