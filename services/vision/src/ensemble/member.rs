//! A client of one model.

use std::{error::Error, time::Duration};

use spoor_proto::spoor::vision::v1::{
    Classification, DescribeRequest, Description, Failure, Tensor, failure::Reason,
    model_client::ModelClient,
};
use spoor_telemetry::grpc::Channel;
use tonic::{Code, Request, Response, Status};

use crate::model::BuiltIn;

/// A model that votes.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) model: BuiltIn,
    pub(super) client: ModelClient<Channel>,
    pub(super) deadline: Duration,
}

impl Member {
    pub(super) fn name(&self) -> &'static str {
        self.model.name()
    }

    pub(super) async fn describe(&self) -> Result<Description, Failure> {
        let mut client = self.client.clone();
        let request = self.request(DescribeRequest {});
        let described = self.call(client.describe(request)).await;
        described.map(|description| Description {
            model: self.name().to_owned(),
            ..description
        })
    }

    pub(super) async fn classify(&self, tensor: Tensor) -> Result<Classification, Failure> {
        let mut client = self.client.clone();
        let request = self.request(tensor);
        self.call(client.classify(request)).await
    }

    /// The reason why the model did not vote.
    pub(super) fn failure(&self, reason: Reason, message: impl Into<String>) -> Failure {
        Failure {
            model: self.name().to_owned(),
            reason: reason.into(),
            message: message.into(),
        }
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
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_elapsed) => Err(self.late()),
        }
    }

    fn failed(&self, status: &Status) -> Failure {
        tracing::warn!(
            model.name = self.name(),
            error = status as &dyn Error,
            "model failed"
        );
        match status.code() {
            Code::Unavailable => self.failure(Reason::Away, "it cannot be reached"),
            Code::DeadlineExceeded | Code::Cancelled => self.late(),
            Code::ResourceExhausted => self.failure(Reason::Busy, "its queue is full"),
            // Out of range means that the tensor is too large: it was made for a larger input than
            // the model has now.
            Code::FailedPrecondition | Code::OutOfRange => {
                self.failure(Reason::OtherInput, status.message())
            }
            _ => self.failure(Reason::Failed, status.message()),
        }
    }

    fn late(&self) -> Failure {
        let deadline = self.deadline;
        self.failure(
            Reason::Away,
            format!("it did not respond within {deadline:?}"),
        )
    }
}
