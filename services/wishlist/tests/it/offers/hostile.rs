//! Malformed input to the endpoints.

use proptest::{prelude::*, test_runner::TestRunner};
use spoor_proto::spoor::{
    marketplace::v1::{SearchRequest, marketplace_client::MarketplaceClient},
    offers::v1::{ForgetRequest, StartSearchRequest, offers_client::OffersClient},
};
use spoor_testing::infrastructure::channel;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
};
use tonic::Code;

use super::{Mesh, marketplace};

/// Runs a check for many values, each on the runtime of the test.
fn for_many<S: Strategy>(strategy: S, check: impl Fn(S::Value)) {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    tokio::task::block_in_place(|| {
        TestRunner::new(config)
            .run(&strategy, |value| {
                check(value);
                Ok(())
            })
            .unwrap();
    });
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    Handle::current().block_on(future)
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_gets_a_grpc_status() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let offers = OffersClient::new(channel(mesh.offers.address).await);
    for_many((".{0,300}", ".{0,300}"), |(wish_id, name)| {
        let (mut client, id) = (offers.clone(), wish_id.clone());
        let status = wait(client.start_search(StartSearchRequest { wish_id, name })).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let request = ForgetRequest { wish_id: id };
        let status = wait(client.forget(request)).unwrap_err();
        assert!(status.message().starts_with("wish_id: "), "{status:?}");
    });

    let attic = marketplace("attic", &[]).await;
    let attic = MarketplaceClient::new(channel(attic.address).await);
    for_many(".{0,300}", |query| {
        let found = wait(attic.clone().search(SearchRequest { query }));
        let code = found.map_or_else(|status| status.code(), |_| Code::Ok);
        assert!(matches!(code, Code::Ok | Code::InvalidArgument), "{code:?}");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http_requests_get_a_response() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let address = mesh.gateway.address;
    let requests = (
        "(GET|POST|PUT|DELETE|HEAD|[A-Z]{1,10})",
        "/(api/)?offers(/stream)?[!-~]{0,40}",
        "[ -~]{0,200}",
        prop::collection::vec(any::<u8>(), 0..2000),
    );
    for_many(requests, |(method, path, header, body)| {
        let response = wait(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: {address}\r\nlast-event-id: {header}\r\n\
                 connection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // The server may have responded and closed the connection already.
            let _ = stream.write_all(&body).await;
            let mut start = [0; 12];
            let read = stream.read_exact(&mut start).await;
            read.map(|_| String::from_utf8_lossy(&start).into_owned())
        });
        let response = response.expect("a response");
        assert!(!response.contains(" 5"), "{method} {path}: {response}");
    });
    assert_eq!(mesh.gateway.get("/api/offers").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_do_no_harm_to_grpc() {
    let mesh = Mesh::of(&[("attic", &[])], "1d").await;
    let address = mesh.offers.address;
    for_many(prop::collection::vec(any::<u8>(), 0..2000), |bytes| {
        wait(async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // The server may have closed the connection already.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        });
    });
    assert_eq!(mesh.gateway.get("/api/offers").await.status(), 200);
}
