//! A client of one model.

use std::{error::Error, time::Duration};

use spoor_proto::spoor::vision::v1::{
    Classification, DescribeRequest, Description, Failure, Tensor, failure::Reason,
    model_client::ModelClient,
};
use spoor_telemetry::{grpc::Channel, grpc::within};
use tonic::{Code, Status};

use crate::model::BuiltIn;

/// A model that votes.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) model: BuiltIn,
    pub(super) client: ModelClient<Channel>,
    pub(super) deadline: Duration,
}

impl Member {
    pub(super) async fn describe(&self) -> Result<Description, Failure> {
        let describe = async |request| self.client.clone().describe(request).await;
        let described = within(self.deadline, DescribeRequest {}, describe).await;
        let description = described.map_err(|status| self.failed(&status))?;
        Ok(Description {
            // The configured name, which may differ from the name that the model reports.
            model: self.model.name().to_owned(),
            ..description
        })
    }

    pub(super) async fn classify(&self, tensor: Tensor) -> Result<Classification, Failure> {
        let classify = async |request| self.client.clone().classify(request).await;
        let classified = within(self.deadline, tensor, classify).await;
        classified.map_err(|status| self.failed(&status))
    }

    /// The reason why the model did not vote.
    pub(super) fn failure(&self, reason: Reason, message: impl Into<String>) -> Failure {
        Failure {
            model: self.model.name().to_owned(),
            reason: reason.into(),
            message: message.into(),
        }
    }

    fn failed(&self, status: &Status) -> Failure {
        tracing::warn!(
            model.name = self.model.name(),
            error = status as &dyn Error,
            "model failed"
        );
        match status.code() {
            Code::Unavailable => self.failure(Reason::Unavailable, "cannot be reached"),
            Code::DeadlineExceeded | Code::Cancelled => {
                let message = format!("no response within {:?}", self.deadline);
                self.failure(Reason::Unavailable, message)
            }
            Code::ResourceExhausted => self.failure(Reason::Busy, "queue full"),
            // Out of range means that the tensor is too large: it was made for a larger input than
            // the model has now.
            Code::FailedPrecondition | Code::OutOfRange => {
                self.failure(Reason::OtherInput, status.message())
            }
            _ => self.failure(Reason::Failed, status.message()),
        }
    }
}
