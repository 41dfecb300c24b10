//! A deposit that is undone because its response is lost.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use spoor_proto::spoor::sampler::v1::{
    CustodyMessage, DepositResponse, DiscardRequest, DiscardResponse, ExchangeRequest,
    ExchangeResponse, ForwardRequest, ForwardResponse, WithdrawRequest,
    peers_server::{Peers, PeersServer},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    peers::{Stack, rings, wait_until_ready},
    plane::listen,
    receiver::Receiver,
    running::until,
};

/// A sampler that takes files, but whose response to the deposit is lost.
#[derive(Clone, Default)]
struct LossyPeer {
    discards: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Peers for LossyPeer {
    async fn forward(
        &self,
        _: Request<ForwardRequest>,
    ) -> Result<Response<ForwardResponse>, Status> {
        Err(Status::unavailable("takes no spans"))
    }

    async fn exchange(
        &self,
        _: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let rings = Some(rings(5, &[3]));
        Ok(Response::new(ExchangeResponse { rings }))
    }

    type DepositStream = ReceiverStream<Result<DepositResponse, Status>>;

    async fn deposit(
        &self,
        request: Request<Streaming<CustodyMessage>>,
    ) -> Result<Response<Self::DepositStream>, Status> {
        let mut messages = request.into_inner();
        while messages.message().await?.is_some() {}
        // Without a sender the responses end.
        let (_, responses) = mpsc::channel(1);
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    type WithdrawStream = ReceiverStream<Result<CustodyMessage, Status>>;

    async fn withdraw(
        &self,
        _: Request<WithdrawRequest>,
    ) -> Result<Response<Self::WithdrawStream>, Status> {
        Err(Status::unavailable("returns no files"))
    }

    async fn discard(
        &self,
        _: Request<DiscardRequest>,
    ) -> Result<Response<DiscardResponse>, Status> {
        self.discards.fetch_add(1, Relaxed);
        Ok(Response::new(DiscardResponse {}))
    }
}

#[tokio::test]
async fn deposit_is_undone_while_another_peer_hangs() {
    let (_receiver, output) = Receiver::start().await;
    let stack = Stack::without_claims(output);
    // The kernel accepts connections to the first one, which never responds.
    let _hanging = listen(stack.peer(0)).await;
    let lossy = LossyPeer::default();
    let server = Server::builder().add_service(PeersServer::new(lossy.clone()));
    let listener = listen(stack.peer(2)).await;
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    fs::write(stack.folder(1).join("id"), [1; 16]).unwrap();
    let sampler = stack.start(1, None);
    wait_until_ready(&sampler).await;
    let discards = || lossy.discards.load(Relaxed);
    until("the discard at the start", async || discards() == 1).await;
    sampler.stop().await;
    assert_eq!(discards(), 2);
}
