//! `spoor.vision.v1.Model`.

use std::{error::Error, sync::Arc};

use spoor_proto::spoor::vision::v1::{
    Classification, DescribeRequest, Description, Score, Tensor, model_server::Model,
};
use tonic::{Request, Response, Status};
use tracing::{Instrument, field::Empty, info_span};

use super::{lazy::LazyModel, network::ClassifyError};
use crate::{
    input::Input,
    workers::{Slot, Workers},
};

/// The gRPC service.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) model: Arc<LazyModel>,
    pub(super) workers: Workers,
}

#[tonic::async_trait]
impl Model for Service {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<Description>, Status> {
        let properties = &self.model.properties;
        Ok(Response::new(Description {
            model: self.name.to_owned(),
            input: Some(properties.input.into()),
            labels: properties.labels.clone().unwrap_or_default(),
            accuracy: properties.accuracy,
        }))
    }

    async fn classify(&self, request: Request<Tensor>) -> Result<Response<Classification>, Status> {
        let values = self.values(request.get_ref())?;
        // Reserved before the model is loaded, so that requests which wait for that are bounded as well.
        let slot = self
            .workers
            .reserve()
            .map_err(|full| Status::resource_exhausted(full.to_string()))?;
        let scores = self.infer(values, slot).await?;
        Ok(Response::new(Classification {
            model: self.name.to_owned(),
            scores,
            accuracy: self.model.properties.accuracy,
        }))
    }
}

impl Service {
    fn values(&self, tensor: &Tensor) -> Result<Vec<f32>, Status> {
        let expected = self.model.properties.input;
        let given = Input::try_from(tensor.input.as_ref())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        // Before the length, which differs as well if the input has another size.
        if given != expected {
            return Err(Status::failed_precondition(
                "the model expects a different input; call Describe again",
            ));
        }
        let (bytes, expected) = (tensor.values.len(), expected.byte_count());
        if bytes != expected {
            return Err(Status::invalid_argument(format!(
                "values: must be {expected} bytes, not {bytes}"
            )));
        }
        let (values, _) = tensor.values.as_chunks();
        let values = values.iter().copied().map(f32::from_le_bytes);
        // One NaN would make all scores NaN.
        let finite: Option<Vec<f32>> = values.map(|it| it.is_finite().then_some(it)).collect();
        finite.ok_or_else(|| Status::invalid_argument("values: must all be finite"))
    }

    async fn infer(&self, values: Vec<f32>, slot: Slot) -> Result<Vec<Score>, Status> {
        let network = self.model.get_or_load().await.map_err(failed)?;
        let span = info_span!(
            "inference",
            model.name = self.name,
            model.label = Empty,
            model.score = Empty,
        );
        let classify = move || -> Result<_, ClassifyError> { network.classify(&values) };
        let scores = self.workers.run(slot, classify).instrument(span.clone());
        let scores = scores.await.map_err(failed)?.map_err(failed)?;
        if let Some(best) = scores.first() {
            span.record("model.label", &best.label);
            span.record("model.score", best.score);
        }
        Ok(scores)
    }
}

fn failed(error: impl Error + 'static) -> Status {
    tracing::error!(error = &error as &dyn Error, "classification failed");
    Status::internal(error.to_string())
}
