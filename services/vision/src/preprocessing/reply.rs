//! The response: the label of a picture, with the models' votes.

use serde::Serialize;
use spoor_proto::spoor::vision::v1::{Failure, Opinion, Score, VoteReply};
use spoor_telemetry::trace_id;

use super::picture::PictureProperties;

/// The response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reply {
    /// The best label.
    label: Option<String>,
    /// The best five labels.
    top: Vec<Score>,
    /// The vote of each model.
    models: Vec<Model>,
    /// The reason why a model did not vote; absent if all did.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    image: PictureProperties,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Debug, Serialize)]
// Untagged: a client sees from the field `error` that a model failed.
#[serde(untagged)]
enum Model {
    Voted(Opinion),
    Failed { model: String, error: String },
}

impl Reply {
    pub(super) fn new(reply: VoteReply, image: PictureProperties) -> Self {
        let VoteReply {
            top,
            opinions,
            failures,
            notes,
        } = reply;
        let text =
            |failure: &Failure| format!("{} did not vote: {}", failure.model, failure.message);
        let degraded = failures.iter().map(text).collect::<Vec<_>>().join("; ");
        let voted = opinions.into_iter().map(Model::Voted);
        let failed = failures.into_iter().map(|failure| Model::Failed {
            model: failure.model,
            error: failure.message,
        });
        Self {
            label: top.first().map(|best| best.label.clone()),
            top,
            models: voted.chain(failed).collect(),
            degraded: (!degraded.is_empty()).then_some(degraded),
            notes,
            image,
            trace_id: trace_id().map(|id| id.to_string()),
        }
    }
}
