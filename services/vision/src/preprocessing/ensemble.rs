//! A client of ensemble, whose calls have a deadline.

use std::time::Duration;

use spoor_proto::spoor::vision::v1::{
    DescribeReply, DescribeRequest, VoteReply, VoteRequest, ensemble_client::EnsembleClient,
};
use spoor_telemetry::{grpc::Channel, grpc::within};

use super::error::RequestError;

/// A client of ensemble.
#[derive(Clone)]
pub(super) struct Ensemble {
    pub(super) client: EnsembleClient<Channel>,
    pub(super) deadline: Duration,
}

impl Ensemble {
    pub(super) async fn describe(&self) -> Result<DescribeReply, RequestError> {
        let describe = async |request| self.client.clone().describe(request).await;
        Ok(within(self.deadline, DescribeRequest {}, describe).await?)
    }

    pub(super) async fn vote(&self, request: VoteRequest) -> Result<VoteReply, RequestError> {
        let vote = async |request| self.client.clone().vote(request).await;
        Ok(within(self.deadline, request, vote).await?)
    }
}
