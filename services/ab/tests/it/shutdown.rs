use std::sync::Arc;

use spoor_proto::spoor::ab::v1::{
    WorkReply, WorkRequest,
    service_b_server::{ServiceB, ServiceBServer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::pair::{get, json, service_a};

/// A service-b that reports when it is called and responds on demand.
#[derive(Clone, Default)]
struct Held {
    called: Arc<Notify>,
    respond: Arc<Notify>,
}

#[tonic::async_trait]
impl ServiceB for Held {
    async fn work(&self, _: Request<WorkRequest>) -> Result<Response<WorkReply>, Status> {
        self.called.notify_one();
        self.respond.notified().await;
        Ok(Response::new(WorkReply::default()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_requests_finish_before_shutdown() {
    let held = Held::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut a = service_a(listener.local_addr().unwrap(), &[]).await;
    let serving = Server::builder()
        .add_service(ServiceBServer::new(held.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let serving = tokio::spawn(serving);

    let address = a.address;
    let request = tokio::spawn(async move { json(get(address, "/").await).await.0 });
    held.called.notified().await;
    a.stop.cancel();
    held.respond.notify_one();
    assert_eq!(request.await.unwrap(), 200);
    (&mut a.task).await.unwrap().unwrap();
    assert!(
        reqwest::get(format!("http://{address}/")).await.is_err(),
        "still listening"
    );
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_does_not_delay_shutdown() {
    let mut a = service_a("127.0.0.1:1".parse().unwrap(), &[]).await;
    let silent = TcpStream::connect(a.address).await.unwrap();
    // Once this request has a response, the earlier connection has been accepted as well.
    get(a.address, "/elsewhere").await;
    a.stop.cancel();
    (&mut a.task).await.unwrap().unwrap();
    drop(silent);
}
