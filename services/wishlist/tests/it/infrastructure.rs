use tokio_stream::StreamExt;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::running::Wishlist;

#[rstest::rstest]
#[case("")]
#[case("spoor.wishlist.v1.Wishlist")]
#[tokio::test(flavor = "multi_thread")]
async fn wishlist_is_healthy(#[case] service: &str) {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let reply = HealthClient::new(wishlist.channel().await)
        .check(request)
        .await
        .unwrap();
    assert_eq!(
        reply.into_inner().status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishlist_says_what_it_offers() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(wishlist.channel().await);
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
            .any(|service| service.name == "spoor.wishlist.v1.Wishlist")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wishlist_has_an_operators_port() {
    let wishlist = Wishlist::on("sqlite::memory:").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = reqwest::get(format!("http://{}{path}", wishlist.ops))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
}
