//! The handling of an upload.

use std::{sync::Arc, time::Duration};

use axum::{Json, body::Body, extract::State};
use bytes::Bytes;
use http::HeaderMap;
use spoor_proto::spoor::vision::v1::{
    self, Tensor, TensorFor, VoteReply, VoteRequest, failure::Reason,
};
use spoor_telemetry::http::Problem;
use tokio::time::timeout;
use tracing::{Instrument, info_span};

use super::{
    answer::Answer,
    ensemble::Ensemble,
    failure::Failure,
    form,
    picture::{self, Facts, Head, InvalidPicture},
    tensor,
    upload::{Memory, Upload, UploadError},
    wanted::{Known, Wanted},
};
use crate::workers::{Slot, Workers};

/// The state of the handler.
#[derive(Clone)]
pub(super) struct Classifier {
    pub(super) ensemble: Ensemble,
    pub(super) known: Known,
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
) -> Result<Json<Answer>, Problem> {
    Ok(Json(classifier.classify(&headers, body).await?))
}

impl Classifier {
    async fn classify(&self, headers: &HeaderMap, body: Body) -> Result<Answer, Failure> {
        let upload = timeout(self.deadline, self.uploads.read(body));
        let Upload { bytes, memory } = upload.await.map_err(|_elapsed| UploadError::Slow)??;
        let bytes = form::picture(headers, bytes)?;
        let slot = self.workers.reserve()?;
        let head = self.read_head(&bytes, &slot).await?;
        let wanted = self.known.wanted(&self.ensemble).await?;
        let mut voted = self.vote(&bytes, head, &wanted, &slot).await;
        if is_outdated(&voted) {
            self.known.forget(&wanted).await;
            let wanted = self.known.wanted(&self.ensemble).await?;
            voted = self.vote(&bytes, head, &wanted, &slot).await;
        }
        drop(memory);
        Ok(Answer::new(voted?, head.facts))
    }

    async fn read_head(&self, bytes: &Bytes, slot: &Slot) -> Result<Head, Failure> {
        let memory = self.pictures.reserve(picture::MAX_OVERHEAD).await;
        let bytes = bytes.clone();
        let read = move || {
            let _held = memory;
            picture::read_head(&bytes)
        };
        Ok(self.workers.run(slot.clone(), read).await??)
    }

    async fn vote(
        &self,
        bytes: &Bytes,
        head: Head,
        wanted: &Arc<Vec<Wanted>>,
        slot: &Slot,
    ) -> Result<VoteReply, Failure> {
        let (bytes, wanted) = (bytes.clone(), Arc::clone(wanted));
        let prepare = async {
            let memory = self.pictures.reserve(head.memory).await;
            let prepare = move || {
                let _held = memory;
                prepared(&bytes, head.facts, &wanted)
            };
            Ok::<_, Failure>(self.workers.run(slot.clone(), prepare).await??)
        };
        let tensors = prepare.instrument(info_span!("preprocess")).await?;
        self.ensemble.vote(VoteRequest { tensors }).await
    }
}

/// Prepares a tensor for each distinct input.
fn prepared(
    bytes: &Bytes,
    facts: Facts,
    wanted: &[Wanted],
) -> Result<Vec<TensorFor>, InvalidPicture> {
    let picture = decode_span(facts).in_scope(|| picture::decode(bytes))?;
    let tensor = |Wanted { input, models }: &Wanted| TensorFor {
        models: models.clone(),
        tensor: Some(Tensor {
            input: Some((*input).into()),
            values: tensor::bytes(&tensor::numbers(&picture, input)),
        }),
    };
    Ok(wanted.iter().map(tensor).collect())
}

fn decode_span(facts: Facts) -> tracing::Span {
    info_span!(
        "decode",
        image.format = facts.format,
        image.width = facts.width,
        image.height = facts.height,
        image.bytes = facts.bytes,
    )
}

/// True if a model was replaced by one with another input.
fn is_outdated(voted: &Result<VoteReply, Failure>) -> bool {
    let wants_another = |failure: &v1::Failure| failure.reason() == Reason::OtherInput;
    match voted {
        Ok(reply) => reply.failures.iter().any(wants_another),
        Err(failure) => matches!(failure, Failure::OtherInput(_)),
    }
}
