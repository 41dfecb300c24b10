//! From an upload to an answer.

use std::{sync::Arc, time::Duration};

use axum::{Json, body::Body, extract::State};
use bytes::Bytes;
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
    picture::{Encoded, Facts, InvalidPicture},
    tensor,
    upload::{Memory, Part, Upload, UploadError},
    wanted::{Known, Wanted},
};
use crate::workers::{Place, Workers};

/// What every request needs.
#[derive(Clone)]
pub(super) struct Classifier {
    pub(super) ensemble: Ensemble,
    pub(super) known: Known,
    pub(super) workers: Workers,
    /// For what is uploaded.
    pub(super) uploads: Memory,
    /// For what is decoded.
    pub(super) pictures: Memory,
    /// For an upload to come.
    pub(super) deadline: Duration,
}

/// `POST /classify`.
pub(super) async fn classify(
    State(classifier): State<Classifier>,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    Ok(Json(classifier.classify(body).await?))
}

impl Classifier {
    async fn classify(&self, body: Body) -> Result<Answer, Failure> {
        let upload = timeout(self.deadline, self.uploads.read(body));
        let Upload { bytes, memory } = upload.await.map_err(|_elapsed| UploadError::Slow)??;
        let place = self.workers.place()?;
        let encoded = self.look(&bytes, &place).await?;
        let facts = encoded.facts;
        let wanted = self.known.wanted(&self.ensemble).await?;
        let mut voted = self.vote(encoded, &wanted, &place).await;
        if is_outdated(&voted) {
            self.known.forget(&wanted).await;
            let wanted = self.known.wanted(&self.ensemble).await?;
            let encoded = self.look(&bytes, &place).await?;
            voted = self.vote(encoded, &wanted, &place).await;
        }
        drop(memory);
        Ok(Answer::new(voted?, facts))
    }

    /// Reads the picture's head.
    async fn look(&self, bytes: &Bytes, place: &Place) -> Result<Encoded, Failure> {
        let bytes = bytes.clone();
        let open = || Encoded::open(bytes);
        Ok(self.workers.run(place.clone(), open).await??)
    }

    async fn vote(
        &self,
        encoded: Encoded,
        wanted: &Arc<Vec<Wanted>>,
        place: &Place,
    ) -> Result<VoteReply, Failure> {
        let prepared = self.prepare(encoded, Arc::clone(wanted), place);
        let tensors = prepared.instrument(info_span!("preprocess")).await?;
        self.ensemble.vote(VoteRequest { tensors }).await
    }

    async fn prepare(
        &self,
        encoded: Encoded,
        wanted: Arc<Vec<Wanted>>,
        place: &Place,
    ) -> Result<Vec<TensorFor>, Failure> {
        let memory = self.pictures.take(encoded.memory()).await;
        let prepare = move || prepared(encoded, &wanted, memory);
        Ok(self.workers.run(place.clone(), prepare).await??)
    }
}

/// A tensor for each distinct input.
fn prepared(
    encoded: Encoded,
    wanted: &[Wanted],
    memory: Option<Part>,
) -> Result<Vec<TensorFor>, InvalidPicture> {
    let facts = encoded.facts;
    let picture = decode_span(facts).in_scope(|| encoded.decode())?;
    let tensor = |Wanted { input, models }: &Wanted| TensorFor {
        models: models.clone(),
        tensor: Some(Tensor {
            input: Some((*input).into()),
            values: tensor::bytes(&tensor::numbers(&picture, input)),
        }),
    };
    let tensors = wanted.iter().map(tensor).collect();
    drop((picture, memory));
    Ok(tensors)
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

/// A model was replaced by one that takes other pictures.
fn is_outdated(voted: &Result<VoteReply, Failure>) -> bool {
    let wants_another = |failure: &v1::Failure| failure.reason() == Reason::OtherInput;
    match voted {
        Ok(reply) => reply.failures.iter().any(wants_another),
        Err(failure) => matches!(failure, Failure::OtherInput(_)),
    }
}
