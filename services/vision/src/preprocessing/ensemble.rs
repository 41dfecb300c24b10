//! A client of ensemble, whose calls have a deadline.

use std::time::Duration;

use spoor_proto::spoor::vision::v1::{
    DescribeReply, DescribeRequest, VoteReply, VoteRequest, ensemble_client::EnsembleClient,
};
use spoor_telemetry::grpc::Channel;
use tonic::{Request, Response, Status};

use super::failure::Failure;

/// A client of ensemble.
#[derive(Clone)]
pub(super) struct Ensemble {
    pub(super) client: EnsembleClient<Channel>,
    pub(super) deadline: Duration,
}

impl Ensemble {
    pub(super) async fn describe(
        &self,
        request: DescribeRequest,
    ) -> Result<DescribeReply, Failure> {
        let mut client = self.client.clone();
        self.call(client.describe(self.request(request))).await
    }

    pub(super) async fn vote(&self, request: VoteRequest) -> Result<VoteReply, Failure> {
        let mut client = self.client.clone();
        self.call(client.vote(self.request(request))).await
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }

    /// Awaits a call within the deadline, which the channel's own timeout does not apply to
    /// connecting.
    async fn call<M>(
        &self,
        call: impl Future<Output = Result<Response<M>, Status>>,
    ) -> Result<M, Failure> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(status.into()),
            Err(_elapsed) => Err(Failure::Late),
        }
    }
}
