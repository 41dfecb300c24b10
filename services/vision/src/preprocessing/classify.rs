//! The handling of an upload.

use std::{sync::Arc, time::Duration};

use axum::{Json, body::Body, extract::State};
use bytes::Bytes;
use http::HeaderMap;
use spoor_proto::spoor::vision::v1::{self, Tensor, VoteReply, VoteRequest, failure::Reason};
use spoor_telemetry::http::Problem;
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use super::{
    ensemble::Ensemble,
    error::RequestError,
    form,
    inputs::{InputCache, RequiredInput},
    picture::{self, Header, InvalidPicture, PictureProperties},
    reply::Reply,
    tensor,
    upload::{Memory, UploadError},
};
use crate::{
    model::BuiltIn,
    workers::{Slot, Workers},
};

/// The state of the handler.
#[derive(Clone)]
pub(super) struct Classifier {
    pub(super) ensemble: Ensemble,
    pub(super) inputs: InputCache,
    pub(super) workers: Workers,
    /// The memory for uploads.
    pub(super) uploads: Memory,
    /// The memory for decoded pictures.
    pub(super) pictures: Memory,
    /// The maximum time for an upload to arrive.
    pub(super) deadline: Duration,
}

/// `POST /classify`.
pub(super) async fn classify(
    State(classifier): State<Classifier>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Reply>, Problem> {
    Ok(Json(classifier.classify(&headers, body).await?))
}

impl Classifier {
    async fn classify(&self, headers: &HeaderMap, body: Body) -> Result<Reply, RequestError> {
        let upload = timeout(self.deadline, self.uploads.read(body));
        let (bytes, memory) = upload.await.map_err(|_elapsed| UploadError::Timeout)??;
        let bytes = form::picture(headers, bytes)?;
        // Only now, so that slow uploads do not occupy slots.
        let slot = self.workers.reserve()?;
        let header = self.read_header(&bytes, &slot).await?;
        // After the header, so that an invalid picture is refused without a call.
        let inputs = self.inputs.get(&self.ensemble).await?;
        let mut vote = self.vote(&bytes, header, &inputs, &slot).await;
        // Only once: if the inputs change again, the response asks the client to retry.
        if is_outdated(&vote) {
            self.inputs.forget(&inputs).await;
            let inputs = self.inputs.get(&self.ensemble).await?;
            vote = self.vote(&bytes, header, &inputs, &slot).await;
        }
        // The upload's bytes are used until here, for the second vote.
        drop(memory);
        Ok(Reply::new(vote?, header.properties))
    }

    async fn read_header(&self, bytes: &Bytes, slot: &Slot) -> Result<Header, RequestError> {
        // A header can contain compressed data, so reading it takes memory and CPU time as well.
        let memory = self.pictures.reserve(picture::MAX_OVERHEAD_BYTES).await;
        let bytes = bytes.clone();
        let read = move || {
            let _held = memory;
            picture::read_header(&bytes)
        };
        Ok(self.workers.run(slot.clone(), read).await??)
    }

    async fn vote(
        &self,
        bytes: &Bytes,
        header: Header,
        inputs: &Arc<Vec<RequiredInput>>,
        slot: &Slot,
    ) -> Result<VoteReply, RequestError> {
        let (bytes, inputs) = (bytes.clone(), Arc::clone(inputs));
        let prepare = async {
            let memory = self.pictures.reserve(header.memory).await;
            let prepare = move || {
                let _held = memory;
                prepare_tensors(&bytes, header.properties, &inputs)
            };
            Ok::<_, RequestError>(self.workers.run(slot.clone(), prepare).await??)
        };
        let request = prepare.instrument(info_span!("preprocess")).await?;
        self.ensemble.vote(request).await
    }
}

/// Prepares a tensor for each distinct input.
fn prepare_tensors(
    bytes: &Bytes,
    properties: PictureProperties,
    inputs: &[RequiredInput],
) -> Result<VoteRequest, InvalidPicture> {
    let span = info_span!(
        "decode",
        image.format = properties.format,
        image.width = properties.width,
        image.height = properties.height,
        image.bytes = properties.bytes,
    );
    let picture = span.in_scope(|| picture::decode(bytes))?;
    let tensor = |required: &RequiredInput| Tensor {
        input: Some(required.input.into()),
        values: tensor::bytes(&tensor::prepare(&picture, &required.input)),
    };
    let tensors: Vec<Tensor> = inputs.iter().map(tensor).collect();
    let tensor_for = |model: BuiltIn| {
        let accepts =
            |required: &RequiredInput| required.models.iter().any(|it| it == model.name());
        let at = inputs.iter().position(accepts)?;
        tensors.get(at).cloned()
    };
    Ok(VoteRequest {
        efficientnetb0: tensor_for(BuiltIn::Efficientnetb0),
        mobilenetv2: tensor_for(BuiltIn::Mobilenetv2),
    })
}

/// True if a model was replaced by one with another input.
fn is_outdated(vote: &Result<VoteReply, RequestError>) -> bool {
    let expects_another = |failure: &v1::Failure| failure.reason() == Reason::OtherInput;
    match vote {
        Ok(reply) => reply.failures.iter().any(expects_another),
        Err(failure) => matches!(failure, RequestError::OtherInput(_)),
    }
}
